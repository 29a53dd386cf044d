#!/usr/bin/env python3
"""Quiver beside the Prometheus behind it: speed, CPU and memory on real servers, in one run.

    benches/against_prometheus.py --quiver target/release/quiver [--data FOLDER] [--parts single,fleet,small]

Needs `prometheus` and `promtool` on the PATH (Debian's 2.42 is what the figures in the project are from), python3, and about
4 GB of disk. Makes the data once and keeps it in --data; everything listens on free ports of 127.0.0.1, and every process
that is started here is ended here.

Parts:
  single  one server, 7,200 series of a counter at 15 s over 6 h: each query asked of Prometheus and of Quiver in turn
  fleet   four groups of two replicas of that data: CPU a raw sample, peak memory
  small   an `up`-like instant query over eight servers: latency that Quiver adds to the slowest server

All times are wall times of the whole HTTP answer, read to its end; medians of --rounds. CPU is user + system of a process.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

SERIES = 7_200
STEP_S = 15
SAMPLES = 6 * 3600 // STEP_S
START = 1_700_006_400  # the beginning of a block of two hours
END = START + 6 * 3600
QUERY_STEP = 60
QUERIES = {
    "sum by (job)(rate(x[5m]))": "small",
    "histogram_quantile(0.99, sum by (le)(rate(x_bucket[5m])))": "small",
    "x": "large",
    "topk(10, rate(x[5m]))": "small",
    "max_over_time(x[1h])": "large",
}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def write_open_metrics(out):
    """7,200 counters `x`, and the same number of buckets `x_bucket` (720 histograms of 10 buckets)."""
    chance = random.Random(7)
    times = [START + at * STEP_S for at in range(SAMPLES)]
    out.write("# TYPE x unknown\n")
    for number in range(SERIES):
        labels = f'x{{job="job-{number % 8}",instance="host-{number % 600}:9100",path="/api/{number}"}}'
        value, lines = chance.randrange(1_000_000), []
        for at in times:
            lines.append(f"{labels} {value} {at}\n")
            value += chance.randrange(50)
        out.writelines(lines)
    out.write("# TYPE x_bucket unknown\n")
    bounds = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"]
    for number in range(SERIES // len(bounds)):
        counts = [0] * len(bounds)
        steps = []
        for _ in times:
            for bucket in range(len(bounds)):
                counts[bucket] += chance.randrange(5 * (bucket + 1))
            for bucket in range(1, len(bounds)):
                counts[bucket] = max(counts[bucket], counts[bucket - 1])
            steps.append(tuple(counts))
        for bucket, bound in enumerate(bounds):
            labels = f'x_bucket{{job="job-{number % 8}",instance="host-{number}:9100",le="{bound}"}}'
            out.writelines(f"{labels} {step[bucket]} {at}\n" for at, step in zip(times, steps))
    out.write("# TYPE up unknown\n")
    for number in range(20):
        out.writelines(f'up{{job="job-{number % 8}",instance="host-{number}:9100"}} 1 {at}\n' for at in times)
    out.write("# EOF\n")


def make_data(folder):
    blocks = os.path.join(folder, "blocks")
    if os.path.exists(os.path.join(folder, "made")):
        return blocks
    os.makedirs(folder, exist_ok=True)
    shutil.rmtree(blocks, ignore_errors=True)
    text = os.path.join(folder, "samples.om")
    print("writing the samples ...", file=sys.stderr)
    with open(text, "w", buffering=1 << 20) as out:
        write_open_metrics(out)
    print("making blocks ...", file=sys.stderr)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", text, blocks],
        check=True, stdout=subprocess.DEVNULL,
    )
    os.remove(text)
    open(os.path.join(folder, "made"), "w").close()
    return blocks


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A server that is ended with the `with` block."""

    def __init__(self, command, ready_path, port, log):
        self.port = port
        self.log = open(log, "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)
        deadline = time.monotonic() + 60
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} did not start, see {log}")
            try:
                if request(port, ready_path)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def memory(self, key):
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith(key):
                    return int(line.split()[1]) / 1024
        return 0.0

    def forget_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as out:
            out.write("5")

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def request(port, path, form=None):
    """Status, bytes and seconds of an answer that is read to its end and dropped."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    started = time.perf_counter()
    body = urllib.parse.urlencode(form) if form else None
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    connection.request("POST" if form else "GET", path, body, headers)
    answer = connection.getresponse()
    size, kept = 0, b""
    while piece := answer.read(1 << 20):
        size += len(piece)
        if len(kept) < 4096:
            kept += piece[:4096]
    connection.close()
    return answer.status, size, time.perf_counter() - started, kept


def range_query(port, query, step=QUERY_STEP):
    form = {"query": query, "start": START + 3600 if "1h" in query else START, "end": END - STEP_S, "step": step}
    status, size, seconds, kept = request(port, "/api/v1/query_range", form)
    if status != 200:
        sys.exit(f"{query}: HTTP {status}: {kept[:500]!r}")
    return size, seconds


def start_prometheus(stack, blocks, work, number, flags=()):
    data = os.path.join(work, f"server-{number}")
    shutil.copytree(blocks, data, copy_function=os.link)
    config = os.path.join(work, f"server-{number}.yml")
    with open(config, "w") as out:
        out.write(f"global:\n  external_labels: {{replica: r{number % 2}}}\n")
    port = free_port()
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=100y", "--log.level=warn", "--query.max-samples=100000000", *flags,
    ]
    server = Process(command, "/-/ready", port, os.path.join(work, f"server-{number}.log"))
    stack.append(server)
    return server


def start_quiver(stack, quiver, groups, work, name, flags=()):
    config = os.path.join(work, f"{name}.yml")
    with open(config, "w") as out:
        out.write("promxy:\n  server_groups:\n")
        for number, ports in enumerate(groups):
            targets = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
            out.write(f"    - static_configs: [{{targets: [{targets}]}}]\n")
            if len(groups) > 1:
                out.write(f"      labels: {{sg: g{number}}}\n")
    port = free_port()
    command = [
        quiver, f"--config={config}", f"--bind-addr=127.0.0.1:{port}", "--grpc.bind-addr=none",
        "--access-log-destination=none", *flags,
    ]
    gateway = Process(command, "/-/ready", port, os.path.join(work, f"{name}.log"))
    stack.append(gateway)
    return gateway


def measure(ask, processes, rounds):
    """Median seconds, and CPU seconds of each process, of one call."""
    before = [process.cpu() for process in processes]
    seconds = [ask() for _ in range(rounds)]
    cpu = [(process.cpu() - start) / rounds for process, start in zip(processes, before)]
    return statistics.median(size_seconds[1] for size_seconds in seconds), cpu, seconds[-1][0]


def single(stack, args, blocks, work):
    server = start_prometheus(stack, blocks, work, 0)
    gateway = start_quiver(stack, args.quiver, [[server.port]], work, "single", args.flags)
    print(f"\n## One server, {SERIES} series, 6 h at {STEP_S} s, step {QUERY_STEP} s, {args.rounds} rounds\n")
    print("| query | Prometheus s | Quiver s | wall | Prometheus CPU s | server + gateway CPU s | CPU | MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for query in QUERIES:
        for port in (server.port, gateway.port):
            range_query(port, query)
        direct, direct_cpu, size = measure(lambda q=query: range_query(server.port, q), [server], args.rounds)
        ours, cpu, _ = measure(lambda q=query: range_query(gateway.port, q), [server, gateway], args.rounds)
        print(
            f"| `{query}` | {direct:.3f} | {ours:.3f} | {ours / direct:.2f} | {direct_cpu[0]:.2f} "
            f"| {cpu[0]:.2f} + {cpu[1]:.2f} | {sum(cpu) / max(direct_cpu[0], 0.001):.2f} | {size / 1e6:.1f} |",
            flush=True,
        )


def fleet(stack, args, blocks, work):
    servers = [start_prometheus(stack, blocks, work, 10 + number) for number in range(8)]
    groups = [[servers[at].port, servers[at + 1].port] for at in range(0, 8, 2)]
    print(f"\n## Four groups of two replicas, {8 * SERIES * SAMPLES / 1e6:.0f} M raw samples\n")
    print("| query | s | gateway CPU s | ns a raw sample | peak RSS MB | over idle, bytes a result cell | cells |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for query, step in (("sum by (job)(rate(x[5m]))", QUERY_STEP), ("x", QUERY_STEP)):
        gateway = start_quiver(stack, args.quiver, groups, work, f"fleet-{len(stack)}", args.flags)
        request(gateway.port, "/api/v1/query", {"query": "up", "time": END - STEP_S})
        idle = gateway.memory("VmRSS")
        gateway.forget_peak()
        before = gateway.cpu()
        size, seconds = range_query(gateway.port, query, step)
        cpu, peak = gateway.cpu() - before, gateway.memory("VmHWM")
        raw = 8 * SERIES * (SAMPLES - 1)
        cells = 4 * SERIES * ((END - STEP_S - START) // step + 1) if query == "x" else 0
        over_idle = f"{(peak - idle) * 1024 * 1024 / cells:.1f}" if cells else "-"
        print(
            f"| `{query}` | {seconds:.2f} | {cpu:.2f} | {cpu * 1e9 / raw:.1f} | {peak:.0f} (idle {idle:.0f}) | {over_idle} | {cells} |",
            flush=True,
        )
        gateway.end()


def timed_client(port, count, keep):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    path = "/api/v1/query?" + urllib.parse.urlencode({"query": "up", "time": END - STEP_S})
    for _ in range(count):
        started = time.perf_counter()
        connection.request("GET", path)
        body = connection.getresponse().read()
        keep.append(time.perf_counter() - started)
    return body


def small(stack, args, blocks, work):
    servers = [start_prometheus(stack, blocks, work, 20 + number) for number in range(8)]
    gateway = start_quiver(stack, args.quiver, [[server.port] for server in servers], work, "small", args.flags)
    print("\n## `up` over eight servers (20 series each), milliseconds\n")
    print("| clients | slowest server p50 | p99 | gateway p50 | p99 | added p50 |")
    print("|---:|---:|---:|---:|---:|---:|")
    for clients in (1, 8):
        figures = []
        for ports in [[server.port] for server in servers] + [[gateway.port]]:
            kept = []
            timed_client(ports[0], 50, [])
            with concurrent.futures.ThreadPoolExecutor(clients) as pool:
                list(pool.map(lambda _, port=ports[0]: timed_client(port, 400 // clients, kept), range(clients)))
            kept.sort()
            figures.append((1000 * statistics.median(kept), 1000 * kept[int(len(kept) * 0.99)]))
        slowest, ours = max(figures[:-1]), figures[-1]
        print(
            f"| {clients} | {slowest[0]:.2f} | {slowest[1]:.2f} | {ours[0]:.2f} | {ours[1]:.2f} | {ours[0] - slowest[0]:.2f} |",
            flush=True,
        )
    example = json.loads(timed_client(gateway.port, 1, []))
    print(f"\nseries in the answer: {len(example['data']['result'])}; warnings: {example.get('warnings')}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quiver", required=True, help="a release binary")
    parser.add_argument("--data", default=os.path.join(tempfile.gettempdir(), "quiver-bench-data"))
    parser.add_argument("--parts", default="single,fleet,small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flags", default=[], type=str.split, help="further flags for Quiver")
    args = parser.parse_args()
    blocks = make_data(args.data)
    for name in args.parts.split(","):
        part = {"single": single, "fleet": fleet, "small": small}[name]
        stack = []
        with tempfile.TemporaryDirectory(dir=args.data) as work:
            try:
                part(stack, args, blocks, work)
            finally:
                for process in stack:
                    process.end()


if __name__ == "__main__":
    main()
