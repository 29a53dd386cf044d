"""pyarrow.flight: a ticket of JSON, as people write it; a row of the table is a series."""

import functools
import json

from pyarrow import flight

from answers import answer_all


@functools.cache
def connect(address):
    return flight.connect(f"grpc://{address}")


def ticket(question):
    """Times as the HTTP API takes them."""
    asked = {"query": question["query"]}
    names = {"time_ms": "time", "start_ms": "start", "end_ms": "end", "step_ms": "step"}
    asked |= {name: question[key] / 1000 for key, name in names.items() if key in question}
    return flight.Ticket(json.dumps(asked))


def ask(spec, question):
    return of_table(connect(spec["grpc"]).do_get(ticket(question)).read_all())


def of_table(table):
    """Labels and samples of each row."""
    columns = {name: table.column(name).cast("int64") if name == "timestamp" else table.column(name) for name in table.column_names}
    rows = []
    for at in range(table.num_rows):
        labels = columns["labels"][at].as_py() if "labels" in columns else []
        if "timestamps" in columns:
            times = columns["timestamps"][at].values.cast("int64").to_pylist()
            values = columns["values"][at].values.to_pylist()
        else:
            times, values = [columns["timestamp"][at].as_py()], [columns["value"][at].as_py()]
        rows.append((labels, list(zip(times, values, strict=True))))
    return rows


if __name__ == "__main__":
    answer_all(ask)
