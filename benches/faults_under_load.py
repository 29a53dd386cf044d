#!/usr/bin/env python3
"""Faults of replicas while clients ask: how many answers are wrong (none may be), and how late they are.

    benches/faults_under_load.py --quiver target/release/quiver [--clients 8] [--answers 10000] [--seconds 8]

Needs `prometheus` and `promtool` on the PATH, and python3. Starts two groups of two replicas, one Prometheus with the union of
their data, and Quiver in front of the groups; in front of one replica stands a proxy that can trickle and truncate. Everything
listens on free ports of 127.0.0.1, and every process that is started here is ended here.

Every answer is compared with that of the Prometheus that holds the union. The phases are gone through until --answers were
compared. The exit code is 1 if any answer was wrong or an error, or if p99 while a replica hangs is above 1.5 times that of
before plus the longest time that a replica may stay behind (--delay seconds).
"""

import argparse
import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

STEP_S = 15
START = 1_700_006_400
END = START + 3600
SERIES_PER_GROUP = 60
GROUPS = ("eu", "us")
# Between two samples, and not where counters begin: Prometheus 2 and 3 differ in whether a range takes in its left edge, and in
# how far they extrapolate a counter towards zero.
FIRST = START + 1207
LAST = END - STEP_S + 7
QUERIES = [
    ("query_range", {"query": "sum by (job) (rate(x[5m]))", "start": FIRST, "end": LAST, "step": 60}),
    ("query_range", {"query": "x", "start": LAST - 1200, "end": LAST, "step": 60}),
    ("query_range", {"query": "max_over_time(x[10m])", "start": LAST - 1200, "end": LAST, "step": 120}),
    ("query", {"query": "count by (dc) (x)", "time": LAST}),
    ("query", {"query": "sum(increase(x[30m]))", "time": LAST}),
    ("query", {"query": 'x{dc="us"} > 0', "time": LAST}),
]


def write_samples(out, groups, with_label):
    out.write("# TYPE x unknown\n")
    for group in groups:
        for number in range(SERIES_PER_GROUP):
            dc = f',dc="{group}"' if with_label else ""
            labels = f'x{{job="job-{number % 5}",instance="{group}-{number}:9100"{dc}}}'
            for at in range(3600 // STEP_S):
                out.write(f"{labels} {at * (number + 1) + GROUPS.index(group)} {START + at * STEP_S}\n")
    out.write("# EOF\n")


def make_blocks(work, name, groups, with_label):
    text, blocks = os.path.join(work, f"{name}.om"), os.path.join(work, f"{name}-blocks")
    with open(text, "w") as out:
        write_samples(out, groups, with_label)
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", text, blocks]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return blocks


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A process that can be killed, stopped and started again; ended by `end`."""

    def __init__(self, command, port, log, stdin=None):
        self.command, self.port, self.log, self.stdin, self.process = command, port, log, stdin, None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=self.stdin, stdout=log, stderr=log, start_new_session=True)

    def wait_until_ready(self, path="/-/ready"):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                sys.exit(f"{self.command[0]} did not start, see {self.log}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        sys.exit(f"{self.command[0]} is not ready, see {self.log}")

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


def start_prometheus(work, name, blocks):
    data, config, port = os.path.join(work, name), os.path.join(work, f"{name}.yml"), free_port()
    shutil.copytree(blocks, data)
    with open(config, "w") as out:
        out.write(f"global: {{external_labels: {{replica: {name}}}}}\n")
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=100y", "--log.level=warn",
    ]
    return Process(command, port, os.path.join(work, f"{name}.log"))


# --- the proxy: a process of its own, so that it does not share an interpreter with the clients -------------------------


def proxy(listen, to):
    """Forwards connections; a line on standard input sets what becomes of answers: pass, trickle, truncate."""
    listener = socket.create_server(("127.0.0.1", listen))
    mode = {"now": "pass"}

    def pump(source, target, is_answer):
        sent = 0
        try:
            while piece := source.recv(65536):
                if is_answer and mode["now"] == "trickle":
                    for at in range(len(piece)):
                        target.sendall(piece[at:at + 1])
                        time.sleep(0.05)
                        if mode["now"] != "trickle":
                            target.sendall(piece[at + 1:])
                            break
                elif is_answer and mode["now"] == "truncate":
                    # So much that there is a head, and never the whole body.
                    target.sendall(piece[:max(0, min(len(piece) - 1, 400 - sent))])
                    sent += len(piece)
                    break
                else:
                    target.sendall(piece)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept():
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", to))
            except OSError:
                client.close()
                continue
            threading.Thread(target=pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=pump, args=(server, client, True), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    for line in sys.stdin:
        mode["now"] = line.strip()


# --- clients ------------------------------------------------------------------------------------------------------------


def ask(connection, path, form):
    body, headers = urllib.parse.urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", f"/api/v1/{path}", body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def values(answer):
    """{labels: [(time, value)]} of a result."""
    rows = {}
    for row in answer["data"]["result"]:
        points = row["values"] if "values" in row else [row["value"]]
        rows[tuple(sorted(row["metric"].items()))] = [(float(at), float(value)) for at, value in points]
    return rows


def is_same(left, right):
    if left.keys() != right.keys():
        return False
    for labels, points in left.items():
        others = right[labels]
        if len(points) != len(others):
            return False
        for (at, value), (other_at, other) in zip(points, others):
            if at != other_at or not (math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-12) or value != value and other != other):
                return False
    return True


class Phase:
    """What clients saw while something was wrong."""

    def __init__(self, name):
        self.name, self.seconds, self.lock = name, [], threading.Lock()
        self.wrong, self.errors, self.warned, self.shown = 0, 0, 0, []

    def record(self, seconds, verdict, has_warning, text):
        with self.lock:
            self.seconds.append(seconds)
            self.wrong += verdict == "wrong"
            self.errors += verdict == "error"
            self.warned += has_warning
            if text and len(self.shown) < 3:
                self.shown.append(text)

    def quantile(self, share):
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def line(self):
        return (f"{self.name:<34} {len(self.seconds):>7} {self.wrong:>6} {self.errors:>7} {self.warned:>8} "
                f"{self.quantile(0.5) * 1000:>8.1f} {self.quantile(0.99) * 1000:>8.1f} {self.quantile(1) * 1000:>9.1f}")


def client(port, truth, phase, end_at, offset):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
    number = offset
    while time.monotonic() < end_at:
        at = number % len(QUERIES)
        path, form = QUERIES[at]
        number += 1
        began = time.perf_counter()
        try:
            status, answer = ask(connection, path, form)
        except (OSError, http.client.HTTPException, ValueError) as error:
            phase.record(time.perf_counter() - began, "error", False, repr(error))
            connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
            continue
        took = time.perf_counter() - began
        warnings = answer.get("warnings", [])
        if status != 200:
            phase.record(took, "error", bool(warnings), f"{status}: {answer.get('error')}")
        elif is_same(values(answer), truth[at]):
            phase.record(took, "right", bool(warnings), None)
        else:
            phase.record(took, "wrong", bool(warnings), f"{form}: {json.dumps(answer)[:200]}")
    connection.close()


def run_phase(options, port, truth, phase, seconds=None):
    end_at = time.monotonic() + (seconds or options.seconds)
    threads = [threading.Thread(target=client, args=(port, truth, phase, end_at, offset)) for offset in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- the run ------------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quiver", required=True, help="the binary")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--answers", type=int, default=10_000, help="compare at least so many")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a phase")
    parser.add_argument("--delay", type=float, default=1.0, help="seconds that a replica may stay behind")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs")
    parser.add_argument("--proxy", nargs=2, type=int, metavar=("LISTEN", "TO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="quiver-faults-")
    processes = []
    try:
        return run(options, work, processes)
    finally:
        for process in reversed(processes):
            process.end()
        if options.keep:
            print(f"logs: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


def run(options, work, processes):
    replicas = {}
    for group in GROUPS:
        blocks = make_blocks(work, group, [group], with_label=False)
        for number in (0, 1):
            replicas[group, number] = start_prometheus(work, f"{group}-{number}", blocks)
            processes.append(replicas[group, number])
    union = start_prometheus(work, "union", make_blocks(work, "all", GROUPS, with_label=True))
    processes.append(union)
    for server in [*replicas.values(), union]:
        server.wait_until_ready()

    proxy_port = free_port()
    command = [sys.executable, __file__, "--quiver", "-", "--proxy", str(proxy_port), str(replicas["us", 0].port)]
    middle = Process(command, proxy_port, os.path.join(work, "proxy.log"), stdin=subprocess.PIPE)
    processes.append(middle)
    middle.wait_until_ready()

    def set_proxy(mode):
        middle.process.stdin.write(f"{mode}\n".encode())
        middle.process.stdin.flush()

    config, port = os.path.join(work, "quiver.yml"), free_port()
    with open(config, "w") as out:
        out.write("promxy:\n  server_groups:\n")
        for group in GROUPS:
            ports = [proxy_port if (group, number) == ("us", 0) else replicas[group, number].port for number in (0, 1)]
            targets = ", ".join(f'"127.0.0.1:{target}"' for target in ports)
            out.write(f"    - {{name: {group}, labels: {{dc: {group}}}, static_configs: [{{targets: [{targets}]}}]}}\n")
    command = [options.quiver, f"--config={config}", f"--bind-addr=127.0.0.1:{port}", "--grpc.bind-addr=none",
               "--access-log-destination=none"]
    quiver = Process(command, port, os.path.join(work, "quiver.log"))
    processes.append(quiver)
    quiver.wait_until_ready()

    connection = http.client.HTTPConnection("127.0.0.1", union.port, timeout=60)
    truth = []
    for path, form in QUERIES:
        status, answer = ask(connection, path, form)
        if status != 200 or not answer["data"]["result"]:
            sys.exit(f"the union answers {form} with {status}: {answer}")
        truth.append(values(answer))

    victim, hung = replicas["eu", 0], replicas["eu", 1]
    warm_up = Phase("warm-up (not counted)")
    run_phase(options, port, truth, warm_up, 2.0)
    phases = {}

    def go(name, seconds=None):
        phase = phases.setdefault(name, Phase(name))
        run_phase(options, port, truth, phase, seconds)

    def again_until_healthy(name):
        """Phases go on from a healthy state: probes come every ten seconds at the latest."""
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            look = Phase("")
            run_phase(options, port, truth, look, 1.0)
            phase = phases.setdefault(name, Phase(name))
            phase.seconds += look.seconds
            phase.wrong, phase.errors, phase.warned = phase.wrong + look.wrong, phase.errors + look.errors, phase.warned + look.warned
            phase.shown = (phase.shown + look.shown)[:3]
            if look.warned == 0:
                return
        sys.exit(f"{name}: still warned of a replica that is back for 40 s: {look.shown}")

    while sum(len(phase.seconds) for phase in phases.values()) < options.answers:
        go("healthy")
        victim.signal(signal.SIGKILL)
        go("kill -9 of a replica")
        victim.process.wait()
        victim.start()
        go("while it starts again")
        victim.wait_until_ready()
        again_until_healthy("after its restart")
        hung.signal(signal.SIGSTOP)
        go("SIGSTOP of a replica")
        hung.signal(signal.SIGCONT)
        again_until_healthy("after its SIGCONT")
        set_proxy("trickle")
        go("a trickling replica")
        set_proxy("pass")
        again_until_healthy("after the trickling")
        set_proxy("truncate")
        go("a truncating replica")
        set_proxy("pass")
        again_until_healthy("after the truncating")

    return report(options, port, phases)


def report(options, port, phases):
    print(f"{options.clients} clients, {len(QUERIES)} queries, {SERIES_PER_GROUP * len(GROUPS)} series")
    print(f"{'phase':<34} {'answers':>7} {'wrong':>6} {'errors':>7} {'warned':>8} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>9}")
    for phase in phases.values():
        print(phase.line())
        for text in phase.shown:
            print(f"    {text}")
    total = sum(len(phase.seconds) for phase in phases.values())
    wrong, errors = sum(phase.wrong for phase in phases.values()), sum(phase.errors for phase in phases.values())
    before, hanging = phases["healthy"].quantile(0.99), phases["SIGSTOP of a replica"].quantile(0.99)
    most = 1.5 * before + options.delay
    print(f"\n{total} answers, {wrong} wrong, {errors} errors")
    print(f"p99 healthy {before * 1000:.1f} ms, while one replica hangs {hanging * 1000:.1f} ms: {hanging / before:.2f}x, "
          f"at most {most * 1000:.1f} ms")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    for line in connection.getresponse().read().decode().splitlines():
        if line.startswith(("quiver_target_left", "quiver_target_retries", "quiver_target_hedges", "quiver_target_unhealthy")):
            print(line)
    return 1 if wrong or errors or hanging > most else 0


if __name__ == "__main__":
    if "--proxy" in sys.argv:
        at = sys.argv.index("--proxy")
        proxy(int(sys.argv[at + 1]), int(sys.argv[at + 2]))
    else:
        sys.exit(main())
