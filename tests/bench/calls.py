"""The control socket: calls side by side with redis, by the same caller (callers.c); lists and stops of a million jobs,
and how late ticks are meanwhile."""

import contextlib
import os
import subprocess
import tempfile
import time

from frame import BUILD, Bench, BenchError, Case, Figure, Promise, Side, absent_command, run_program
from ticks import twistyd

SETTINGS = "max-jobs = 2000000\n"
QUIET = SETTINGS + "log-level = warning\n"
MILLION = 1_000_000
BEATS = 10  # 100 ticks a second each


def no_jobs(settings):
    return twistyd({"timers": 0}, settings)


def call(path, request, n, connections=1, depth=1, batch=1):
    result = run_program("callers", "--socket", path, "--request", request, "--requests", n, "--connections",
                         connections, "--depth", depth, "--batch", batch)
    return result | {"per_second": round(1e9 * n / result["wall_ns"]),
                     "wall_us": round(result["wall_ns"] / n / 1000, 2),
                     "server_us": round(result["server_ns"] / n / 1000, 2)}


# Calls


@contextlib.contextmanager
def redis_server():
    """One that keeps nothing on disk; the path of its socket."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        path = f"{directory}/redis.sock"
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly",
                                   "no", "--dir", directory], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not os.path.exists(path):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise BenchError("redis-server does not start")
                time.sleep(0.01)
            yield path
        finally:
            server.terminate()
            server.wait()


def arguments(load):
    return load["n"], load["connections"], load["depth"]


def run_redis(load):
    with redis_server() as path:
        return call(path, "set", *arguments(load))


def run_twistyd(load):
    with no_jobs(SETTINGS if load.get("logged") else QUIET) as daemon:
        if load["request"] == "stop":
            call(daemon.socket, "add", load["n"], depth=64)
        return call(daemon.socket, load["request"], *arguments(load), load.get("batch", 1))


def calls_case(request, connections, depth, quick=False, **load):
    n = 25_000 if depth > 1 else 4_000
    pipelined = ", pipelined" if depth > 1 else ""
    logged = ", logged" if load.get("logged") else ""
    return Case(f"{request}, {connections} caller{'s' * (connections > 1)}{pipelined}{logged}",
                {"request": request, "connections": connections, "depth": depth, "n": n} | load, quick)


def batches_case(name, **load):
    return Case(name, {"request": "add", "connections": 1, "depth": 4, "n": 2000, "batch": 100} | load)


def run_batches(load):
    result = run_twistyd(load)
    jobs = load["n"] * load["batch"]
    return result | {"jobs_per_second": round(1e9 * jobs / result["wall_ns"]),
                     "job_us": round(result["wall_ns"] / jobs / 1000, 2)}


# Ticks meanwhile


def add_beats(daemon):
    """From now on a thousand ticks a second, and no others."""
    daemon.add(*({"kind": "loop", "name": f"beat-{i}", "interval": "10ms", "delay": f"{i}ms", "report": "none"}
                 for i in range(BEATS)))


def lateness(daemon):
    status = daemon.status()
    return {"p50_us": round(status["lateness"]["p50Nsec"] / 1000, 1),
            "p99_us": round(status["lateness"]["p99Nsec"] / 1000, 1), "ticks": status["ticks"]}


def run_busy(load):
    with no_jobs(QUIET) as daemon:
        add_beats(daemon)
        return call(daemon.socket, load["request"], *arguments(load)) | lateness(daemon)


def peak_kb(daemon):
    return daemon.proc_status("VmHWM")


def run_ctl(load):
    """twistyctl on a million jobs: how long it takes, and how the daemon fares."""
    with no_jobs(QUIET) as daemon:
        call(daemon.socket, "add", MILLION // 1000, depth=2, batch=1000)
        add_beats(daemon)
        before, began = peak_kb(daemon), time.monotonic()
        command = [BUILD / "twistyctl", "--socket", daemon.socket, *load["words"]]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return {"s": round(time.monotonic() - began, 2), "daemon_kb": peak_kb(daemon) - before} | lateness(daemon)


TWISTYD = Side("twistyd", run_twistyd)
REDIS = Side("redis SET", run_redis, absent_command("redis-server"))
REQUESTS = ("status", "add", "stop")
CALLERS = (1, 16, 64)

BENCHES = (
    Bench(
        name="calls",
        title="Calls over a Unix socket, of twistyd and of redis-server; log-level = warning where nothing is said",
        ours="twistyd",
        sides=(TWISTYD, REDIS),
        cases=(
            *(calls_case(request, connections, 1, quick=connections == 1) for request in REQUESTS
              for connections in CALLERS),
            *(calls_case(request, connections, 64, quick=connections == 1) for request in REQUESTS
              for connections in CALLERS),
            calls_case("add", 1, 64, logged=True),
        ),
        figures=(
            Figure("per_second", "calls a second", more=True),
            Figure("wall_us", "us a call", compared=False),
            Figure("server_us", "server's CPU us a call"),
        ),
        promises=(
            *(Promise(f"{request}, 1 caller", "per_second", "redis SET", goal=1) for request in REQUESTS),
            *(Promise(f"{request}, {connections} callers", "per_second", "redis SET", goal=1)
              for request in REQUESTS for connections in CALLERS[1:]),
            Promise("add, 1 caller, pipelined", "wall_us", goal=1e6 / 150_000),
            Promise("add, 1 caller, pipelined, logged", "wall_us", goal=1e6 / 150_000),
        ),
    ),
    Bench(
        name="batches",
        title="Add with 100 jobs a call, pipelined",
        ours="twistyd",
        sides=(Side("twistyd", run_batches),),
        cases=(batches_case("add 100"), batches_case("add 100, logged", logged=True)),
        figures=(Figure("jobs_per_second", "jobs a second", more=True), Figure("job_us", "us a job")),
        turns=3,
        promises=(
            Promise("add 100", "job_us", goal=1e6 / 400_000),
            Promise("add 100, logged", "job_us", goal=1e6 / 400_000),
        ),
    ),
    Bench(
        name="busy",
        title="1,000 ticks a second while 64 callers have 64 calls each under way",
        ours="twistyd",
        sides=(Side("twistyd", run_busy),),
        cases=tuple(
            Case(request, {"request": request, "connections": 64, "depth": 64, "n": n}, quick=request == "add")
            for request, n in (("status", 600_000), ("add", 300_000))),
        figures=(
            Figure("p50_us", "lateness p50 us"),
            Figure("p99_us", "lateness p99 us"),
            Figure("per_second", "calls a second", more=True),
        ),
        turns=3,
        promises=(Promise("add", "p99_us", goal=3000),),
    ),
    Bench(
        name="million",
        title="twistyctl on 1,000,000 jobs, while 10 others tick 1,000 times a second",
        ours="twistyctl",
        sides=(Side("twistyctl", run_ctl),),
        cases=(
            Case("list", {"words": ["list"]}),
            Case("list --json", {"words": ["list", "--json"]}),
            Case("stop 't*'", {"words": ["-q", "stop", "t*"]}),
        ),
        figures=(
            Figure("s", "s from start to end"),
            Figure("p99_us", "lateness p99 us"),
            Figure("daemon_kb", "KiB more in the daemon"),
        ),
        turns=1,
        promises=(
            Promise("list", "s", goal=5),
            Promise("list --json", "s", goal=5),
            *(Promise(case, "p99_us", goal=3000) for case in ("list", "list --json", "stop 't*'")),
        ),
    ),
)
