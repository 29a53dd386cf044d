"""grpcio without generated code: the server tells its messages through reflection, pyarrow reads the tables in them."""

import functools

import grpc
import pyarrow
import pyarrow.ipc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from answers import answer_all

SERVICE = "quiver.v1.QueryService"


class Client:
    """Calls by name, as the server describes them."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        database = ProtoReflectionDescriptorDatabase(self.channel)
        if SERVICE not in database.get_services():
            raise LookupError(f"{SERVICE} is not among {database.get_services()}")
        self.service = DescriptorPool(database).FindServiceByName(SERVICE)

    def stream(self, method, **fields):
        """The messages of an answer."""
        method = self.service.FindMethodByName(method)
        call = self.channel.unary_stream(
            f"/{SERVICE}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return call(GetMessageClass(method.input_type)(**fields), timeout=60)


@functools.cache
def connect(address):
    return Client(address)


def ask(spec, question):
    client = connect(spec["grpc"])
    if "time_ms" in question:
        messages = client.stream("Query", query=question["query"], time_ms=question["time_ms"])
    else:
        times = {name: question[name] for name in ("start_ms", "end_ms", "step_ms")}
        messages = client.stream("QueryRange", query=question["query"], range=times)
    header, pieces, trailer = None, [], None
    for message in messages:
        part = message.WhichOneof("part")
        if part == "header":
            header = message.header
        elif part == "arrow_stream":
            pieces.append(message.arrow_stream)
        else:
            trailer = message.trailer
    if trailer is None or trailer.notes.warnings:
        raise RuntimeError(f"not an answer without a warning: {trailer}")
    kind = header.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[header.kind].name
    if kind == "VALUE_KIND_SCALAR":
        return [({}, [(header.grid.start_ms, header.scalar)])]
    table = pyarrow.ipc.open_stream(b"".join(pieces)).read_all()
    return [
        (row["labels"], of_cells(header.grid, row["values"]))
        for row in table.select(["labels", "values"]).to_pylist()
    ]


def of_cells(grid, cells):
    """A cell a step; those without a number are left out."""
    steps = ((grid.start_ms + number * grid.step_ms, cell) for number, cell in enumerate(cells))
    return [(time, cell) for time, cell in steps if cell is not None]


if __name__ == "__main__":
    answer_all(ask)
