"""ADBC's driver for Flight SQL: statements of PromQL; a row of the table is a sample, its series is told as text."""

import functools
import re

import adbc_driver_flightsql.dbapi
import pyarrow

from answers import answer_all

SELECTOR = re.compile(r'(?P<name>[^{]*)(?:\{(?P<labels>.*)\})?', re.DOTALL)
LABEL = re.compile(r'(?P<name>"(?:[^"\\]|\\.)*"|[^=", ]+)(?:="(?P<value>(?:[^"\\]|\\.)*)")?(?:, ?|$)', re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@functools.cache
def connect(address):
    return adbc_driver_flightsql.dbapi.connect(f"grpc://{address}", autocommit=True)


def statement(question):
    start = question.get("start_ms", question.get("time_ms"))
    end, step = question.get("end_ms", start), question.get("step_ms", 1000)
    return f"TQL EVAL ({start / 1000}, {end / 1000}, {step / 1000}) {question['query']}"


def ask(spec, question):
    with connect(spec["grpc"]).cursor() as cursor:
        cursor.execute(statement(question))
        table = cursor.fetch_arrow_table()
    samples = {}
    times = table.column("timestamp").cast(pyarrow.timestamp("ms")).cast("int64").to_pylist()
    for series, time, value in zip(table.column("series").to_pylist(), times, table.column("value").to_pylist()):
        samples.setdefault(series, []).append((time, value))
    return [(labels_of(series), own) for series, own in samples.items()]


def unescaped(text):
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)


def labels_of(series):
    """The labels of `up{job="a"}`, or of `{"with space", "a b"="c"}`."""
    found = SELECTOR.fullmatch(series or "")
    labels = {"__name__": found["name"]} if found["name"] else {}
    for label in LABEL.finditer(found["labels"] or ""):
        name = unescaped(label["name"][1:-1]) if label["name"].startswith('"') else label["name"]
        if label["value"] is None:
            labels["__name__"] = name
        else:
            labels[name] = unescaped(label["value"])
    return labels


if __name__ == "__main__":
    answer_all(ask)
