#!/usr/bin/env python3
"""Arrow Flight beside JSON over HTTP: for a Python client, and for a Quiver above a Quiver, in one run.

    python3 -m venv bench && bench/bin/pip install pyarrow==26.0.1 numpy orjson
    bench/bin/python benches/flight_throughput.py --quiver target/release/quiver [--data FOLDER] [--parts client,layered]

Needs `prometheus` and `promtool` on the PATH, and the data of benches/against_prometheus.py, which is made where it is missing;
7,200 counters at 15 s over 6 h. Everything listens on free ports of 127.0.0.1, and every process that is started here is ended here.

Parts:
  client   the samples of `x`, 10.4 M cells, from one Quiver in front of one Prometheus, to arrays of numpy; a process for each answer
  layered  a Quiver above that one computes over the same 10.4 M samples, which it reads over Flight, remote read, or JSON

Rounds of all ways are interleaved: what the machine does besides falls on all of them. Times are medians; CPU is user + system. The
bytes on the wire are counted in a round of its own, by a relay between the two.
"""

import argparse
import http.client
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import zlib

import against_prometheus as base

# ---------------------------------------------------------------------------------------------------------------- client processes

MILLISECONDS = 1000


def form_of(asked):
    return {name: asked[name] for name in ("query", "start", "end", "step")}


def read_http(asked, compress):
    connection = http.client.HTTPConnection("127.0.0.1", asked["http"], timeout=600)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | ({"Accept-Encoding": "gzip"} if compress else {})
    connection.request("POST", "/api/v1/query_range", urllib.parse.urlencode(form_of(asked)), headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"HTTP {answer.status}: {body[:500]!r}")
    if answer.headers.get("Content-Encoding") == "gzip":
        body = zlib.decompress(body, wbits=31)
    return body


def arrays_of_json(body, loads):
    """For each series its labels, and times and values as arrays; of several ways to get them this is the fastest."""
    import numpy

    series = []
    for item in loads(body)["data"]["result"]:
        samples = item["values"]
        times = numpy.fromiter((sample[0] for sample in samples), "float64", len(samples))
        values = numpy.fromiter((float(sample[1]) for sample in samples), "float64", len(samples))
        series.append((item["metric"], (times * MILLISECONDS).round().astype("int64"), values))
    cells = sum(len(values) for _, _, values in series)
    return len(series), cells, sum(float(values.sum()) for _, _, values in series)


def by_json(asked, loads, compress):
    return arrays_of_json(read_http(asked, compress), loads)


def by_flight(asked, **options):
    """All times, all values, and where each series begins, as arrays; and the labels, as Arrow has them."""
    import numpy
    from pyarrow import flight

    with flight.connect(f"grpc://127.0.0.1:{asked['grpc']}") as client:
        table = client.do_get(flight.Ticket(json.dumps(form_of(asked) | options))).read_all()
    arrays = []
    for chunk in range(table.column("values").num_chunks):
        times, values = table.column("timestamps").chunk(chunk), table.column("values").chunk(chunk)
        arrays.append((times.flatten().cast("int64").to_numpy(), values.flatten().to_numpy(), values.offsets.to_numpy()))
    cells = sum(len(values) for _, values, _ in arrays)
    return table.num_rows, cells, sum(float(numpy.sum(values)) for _, values, _ in arrays)


def json_ways():
    ways = {
        "JSON, json": lambda asked: by_json(asked, json.loads, False),
        "JSON, json, gzip": lambda asked: by_json(asked, json.loads, True),
    }
    try:
        import orjson
    except ImportError:
        return ways
    return ways | {
        "JSON, orjson": lambda asked: by_json(asked, orjson.loads, False),
        "JSON, orjson, gzip": lambda asked: by_json(asked, orjson.loads, True),
    }


def client_ways():
    return json_ways() | {
        "Flight": lambda asked: by_flight(asked),
        "Flight, lz4": lambda asked: by_flight(asked, compression="lz4"),
        "Flight, zstd": lambda asked: by_flight(asked, compression="zstd"),
    }


def run_as_client(way, asked):
    """One answer in this process, which does nothing else; prints what it cost."""
    import numpy  # noqa: F401  Loading is not part of the answer.
    import pyarrow.flight  # noqa: F401

    ask = client_ways()[way]
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    series, cells, total = ask(asked)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = (after.ru_maxrss - before.ru_maxrss) / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_mb": peak, "series": series, "cells": cells, "total": total}))


def ask_as_client(way, asked):
    command = [sys.executable, os.path.abspath(__file__), "--client", way, "--asked", json.dumps(asked)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


# ---------------------------------------------------------------------------------------------------------------------------- relay


class Relay:
    """Passes connections on to a port and counts the bytes that come back."""

    def __init__(self, port):
        self.to, self.bytes = port, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self.pass_on, args=(client, server), daemon=True).start()

    def pass_on(self, client, server):
        with client, server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        piece = ready.recv(1 << 20)
                        if not piece:
                            return
                        self.bytes += len(piece) if ready is server else 0
                        (client if ready is server else server).sendall(piece)
                    except OSError:
                        return

    def end(self):
        self.listener.close()


# --------------------------------------------------------------------------------------------------------------------------- servers


def group_of(targets, **keys):
    """A server group, as YAML that is JSON."""
    return {"static_configs": [{"targets": [f"127.0.0.1:{port}" for port in targets]}], **keys}


def start_quiver(stack, args, work, name, group, flags=()):
    """A gateway with both APIs; its ports are in `port` and `grpc`."""
    config = os.path.join(work, f"{name}.yml")
    with open(config, "w") as out:
        json.dump({"promxy": {"server_groups": [group]}}, out)
    port, grpc = base.free_port(), base.free_port()
    command = [
        args.quiver, f"--config={config}", f"--bind-addr=127.0.0.1:{port}", f"--grpc.bind-addr=127.0.0.1:{grpc}",
        "--access-log-destination=none", "--query.max-memory=8GB", "--query.max-samples=500000000", "--query.timeout=10m", *flags,
    ]
    gateway = base.Process(command, "/-/ready", port, os.path.join(work, f"{name}.log"))
    gateway.grpc = grpc
    stack.append(gateway)
    return gateway


def asked_of(args, query):
    start = base.END - args.hours * 3600
    return {"query": query, "start": start, "end": base.END - base.STEP_S, "step": args.step}


def medians(rows, keys):
    return {key: statistics.median(row[key] for row in rows) for key in keys}


# ------------------------------------------------------------------------------------------------------------------------- the parts


def client(stack, args, blocks, work):
    server = base.start_prometheus(stack, blocks, work, 0)
    gateway = start_quiver(stack, args, work, "lower", group_of([server.port]))
    asked = asked_of(args, args.selector) | {"http": gateway.port, "grpc": gateway.grpc}
    ways = [way for way in client_ways() if not args.ways or way in args.ways.split(";")]
    rows = {way: [] for way in ways}
    for number in range(args.rounds + 1):
        for way in ways:
            before = gateway.cpu()
            row = ask_as_client(way, asked)
            row["gateway_cpu"] = gateway.cpu() - before
            # The first round warms everybody up.
            if number:
                rows[way].append(row)
    answers = {(row["series"], row["cells"], row["total"]) for own in rows.values() for row in own}
    if len(answers) != 1:
        sys.exit(f"the ways do not give the same: {answers}")
    wire = {}
    for way in ways:
        relays = Relay(gateway.port), Relay(gateway.grpc)
        ask_as_client(way, asked | {"http": relays[0].port, "grpc": relays[1].port})
        wire[way] = sum(relay.bytes for relay in relays) / 1e6
        for relay in relays:
            relay.end()
    figures = {way: medians(own, ("wall", "cpu", "peak_mb", "gateway_cpu")) | {"wire": wire[way]} for way, own in rows.items()}
    series, cells, _ = answers.pop()
    print(f"\n## Python client, `{args.selector}`: {series} series, {cells / 1e6:.2f} M cells, {args.rounds} rounds\n")
    print_table(figures, ways[0], [
        ("wall s", "wall", "wall ratio"), ("client CPU s", "cpu", "CPU ratio"), ("gateway CPU s", "gateway_cpu", None),
        ("MB on the wire", "wire", "bytes ratio"), ("client peak MB", "peak_mb", None),
    ])


LAYERED_WAYS = {
    "JSON": {"remote_read": False, "flight": False},
    "remote read": {"remote_read": True, "flight": False},
    "Flight": {},
}


def layered(stack, args, blocks, work):
    server = base.start_prometheus(stack, blocks, work, 10)
    lower = start_quiver(stack, args, work, "layered-lower", group_of([server.port]))
    query = f"sum(rate({args.selector}[5m]))"
    form = asked_of(args, query) | {"step": max(args.step, base.QUERY_STEP)}

    def start_upper(name, http, keys):
        # Exact: the samples themselves have to come up.
        return start_quiver(stack, args, work, name, group_of([http], mode="exact", **keys))

    def ask(upper):
        started = time.perf_counter()
        status, _, _, kept = base.request(upper.port, "/api/v1/query_range", form)
        if status != 200:
            sys.exit(f"HTTP {status}: {kept[:500]!r}")
        return time.perf_counter() - started, kept

    uppers = {way: start_upper(f"upper-{at}", lower.port, keys) for at, (way, keys) in enumerate(LAYERED_WAYS.items())}
    rows, answers, wire = {way: [] for way in uppers}, set(), {}
    for number in range(args.rounds + 1):
        for way, upper in uppers.items():
            upper.forget_peak()
            processes = (upper, lower, server)
            before = [process.cpu() for process in processes]
            wall, answer = ask(upper)
            cpu = [process.cpu() - start for process, start in zip(processes, before)]
            answers.add(answer)
            if number:
                peak = upper.memory("VmHWM")
                rows[way].append({"wall": wall, "upper": cpu[0], "lower": cpu[1], "server": cpu[2], "peak_mb": peak})
    if len(answers) != 1:
        sys.exit(f"the ways do not give the same: {answers}")
    for at, (way, keys) in enumerate(LAYERED_WAYS.items()):
        relays = Relay(lower.port), Relay(lower.grpc)
        keys = keys if "flight" in keys else {"flight": f"127.0.0.1:{relays[1].port}"}
        ask(start_upper(f"relayed-{at}", relays[0].port, keys))
        wire[way] = sum(relay.bytes for relay in relays) / 1e6
    keys = ("wall", "upper", "lower", "server", "peak_mb")
    figures = {way: medians(own, keys) | {"wire": wire[way]} for way, own in rows.items()}
    print(f"\n## Quiver above Quiver, `{query}`, {args.rounds} rounds\n")
    print_table(figures, "JSON", [
        ("wall s", "wall", "wall ratio"), ("upper CPU s", "upper", "upper CPU ratio"), ("lower CPU s", "lower", "lower CPU ratio"),
        ("server CPU s", "server", None), ("MB between them", "wire", "bytes ratio"), ("upper peak MB", "peak_mb", None),
    ])


def print_table(figures, first, columns):
    """Figures of each way, and how much less it is than that of the first one."""
    heads = [text for title, _, ratio in columns for text in (title, ratio) if text]
    print("| way | " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * len(heads))
    for way, row in figures.items():
        cells = []
        for _, key, ratio in columns:
            cells.append(f"{row[key]:.2f}" if row[key] < 100 else f"{row[key]:.0f}")
            if ratio:
                cells.append(f"{figures[first][key] / max(row[key], 1e-3):.1f}x")
        print(f"| {way} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quiver", help="a release binary")
    parser.add_argument("--data", default=os.path.join(tempfile.gettempdir(), "quiver-bench-data"))
    parser.add_argument("--parts", default="client,layered")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--selector", default="x", help="fewer series: 'x{job=\"job-1\"}'")
    parser.add_argument("--hours", type=int, default=6)
    parser.add_argument("--step", type=int, default=base.STEP_S)
    parser.add_argument("--ways", help="of the client, names with ; between them; the first one is what the others are compared with")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--asked", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        return run_as_client(args.client, json.loads(args.asked))
    if not args.quiver:
        parser.error("--quiver is missing")
    blocks = base.make_data(args.data)
    for name in args.parts.split(","):
        part = {"client": client, "layered": layered}[name]
        stack = []
        with tempfile.TemporaryDirectory(dir=args.data) as work:
            try:
                part(stack, args, blocks, work)
            finally:
                for process in stack:
                    process.end()


if __name__ == "__main__":
    main()
