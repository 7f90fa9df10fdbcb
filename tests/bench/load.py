"""Very many jobs from a file: at the start, at a reload that changes one of them, and with twistyctl add --file."""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time

from frame import BUILD, PATIENCE, ROOT, Bench, BenchError, Case, Figure, Promise, Side

sys.path.append(str(ROOT / "tests" / "functional"))
from harness import Daemon  # noqa: E402
from varlink import encode  # noqa: E402

PROBES = 10  # jobs that give a hundred ticks a second each, to see whether anything holds them up
SETTINGS = "[daemon]\nlog-level = err\n"
BEATS = "".join(f"[job:probe-{i}]\nkind = loop\ninterval = 10ms\ndelay = {i}ms\nreport = none\n" for i in range(PROBES))


def jobs_text(n):
    return "".join(f"[job:job-{i:08d}]\nkind = countdown\ncount = 5\ninterval = 1h\ndelay = 1h\n" for i in range(n))


class Lateness:
    """What the probes' ticks say of themselves until it is asked for."""

    def __init__(self, daemon):
        self.late = []
        self._client = daemon.connect()
        self._client.send_bytes(encode("Watch", {"match": ["probe-*"]}, more=True))
        self._client.frame()  # ready
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while not self._over:
            event = json.loads(self._client.frame())["parameters"]["event"]
            if event["event"] == "tick":
                self.late.append(event["lateUsec"] / 1000)

    def p99(self):
        self._over = True
        self._thread.join()
        self._client.close()
        return sorted(self.late)[len(self.late) * 99 // 100]


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(daemon, *arguments):
    """How long twistyctl takes, from start to exit; and the processor time of both."""
    began, used = time.monotonic(), children_cpu() + daemon.cpu_seconds()
    subprocess.run([BUILD / "twistyctl", "--socket", daemon.socket, *arguments], stdout=subprocess.DEVNULL, check=True,
                   timeout=PATIENCE)
    return time.monotonic() - began, children_cpu() + daemon.cpu_seconds() - used


def run_daemon(directory, config, measure):
    """measure(daemon) of a daemon that answers."""
    directory.mkdir()
    began = time.monotonic()
    daemon = Daemon(directory, config=config)
    try:
        while True:  # more often than wait_socket() asks
            try:
                daemon.status()
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.001)
        result = measure(daemon, time.monotonic() - began)
    finally:
        fault = daemon.end()
    if fault:
        raise BenchError(fault)
    return result


def settled_size(daemon):
    """Its memory in KiB when that does not shrink any more: a reload frees what it read after its reply."""
    size, since = daemon.proc_status("VmRSS"), time.monotonic()
    while time.monotonic() < since + 1:
        time.sleep(0.05)
        if daemon.proc_status("VmRSS") < size:
            size, since = daemon.proc_status("VmRSS"), time.monotonic()
    return size


def measure_reload(daemon, ready):
    cpu, size = daemon.cpu_seconds(), settled_size(daemon)
    late = Lateness(daemon)
    text = daemon.config.read_text(encoding="utf-8")
    daemon.config.write_text(text.replace("count = 5", "count = 6", 1), encoding="utf-8")
    took, _ = timed(daemon, "reload")
    return {"ready_s": round(ready, 3), "ready_cpu": cpu, "reload_s": round(took, 3),
            "reload_late_ms": round(late.p99(), 3), "kept": settled_size(daemon) - size, "size": size}


def measure_add(path, n):
    def measure(daemon, _):
        late = Lateness(daemon)
        took, cpu = timed(daemon, "add", "--file", path)
        if daemon.status()["jobs"]["live"] != n + PROBES:
            raise BenchError("not all jobs were added")
        return {"add_s": round(took, 3), "add_cpu": cpu, "add_late_ms": round(late.p99(), 3)}

    return measure


def run(load):
    n = load["jobs"]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        directory = pathlib.Path(directory)
        path = directory / "jobs.conf"
        path.write_text(jobs_text(n), encoding="utf-8")
        result = run_daemon(directory / "reload", SETTINGS + BEATS + jobs_text(n), measure_reload)
        result |= run_daemon(directory / "add", SETTINGS + BEATS, measure_add(path, n))
    return result | {f"{key}_us": round(result[f"{key}_cpu"] * 1e6 / n, 2) for key in ("ready", "add")}


BENCHES = (
    Bench(
        name="load",
        title=f"Jobs from a file, and how late {PROBES * 100} ticks a second come meanwhile",
        ours="twistyd",
        sides=(Side("twistyd", run),),
        cases=(
            Case("10,000 jobs", {"jobs": 10_000}, quick=True),
            Case("100,000 jobs", {"jobs": 100_000}, turns=2),
            Case("1,000,000 jobs", {"jobs": 1_000_000}, turns=1),
        ),
        figures=(
            Figure("ready_s", "start to ready, s"),
            Figure("ready_us", "start to ready, CPU us per job"),
            Figure("reload_s", "reload with one job changed, s"),
            Figure("reload_late_ms", "lateness during the reload, p99, ms"),
            Figure("kept", "memory kept by the reload, KiB"),
            Figure("add_s", "twistyctl add --file, start to exit, s"),
            Figure("add_us", "twistyctl add --file, CPU us per job, of both"),
            Figure("add_late_ms", "lateness during the add, p99, ms"),
        ),
        promises=(
            Promise("1,000,000 jobs", "ready_s", goal=4),
            Promise("1,000,000 jobs", "reload_late_ms", goal=3),
            Promise("1,000,000 jobs", "add_s", goal=6),
            Promise("1,000,000 jobs", "add_late_ms", goal=3),
        ),
        turns=3,
    ),
)
