"""A daemon with very many jobs: what each takes of memory, and whether anybody waits for all of them."""

import json
import pathlib
import sys
import tempfile
import time

from frame import ROOT, Bench, BenchError, Case, Figure, Promise, Side

sys.path.append(str(ROOT / "tests" / "functional"))
from harness import ADD_MAX, Daemon  # noqa: E402
from varlink import encode  # noqa: E402

INTERVAL = 2  # seconds
STALL = 5


def receive(client):
    """The next reply, not held to the interface: that would take longer than all else."""
    return json.loads(client.frame())["parameters"]


def add_jobs(client, n):
    for i in range(0, n, ADD_MAX):
        jobs = [{"name": f"job-{k:08d}", "kind": "loop", "interval": f"{INTERVAL}s", "report": "none"}
                for k in range(i, min(i + ADD_MAX, n))]
        client.send_bytes(encode("Add", {"jobs": jobs}))
        if len(receive(client)["jobs"]) != len(jobs):
            raise BenchError("not all jobs were added")


def status(client):
    client.send_bytes(encode("Status"))
    return receive(client)["status"]


def longest_wait(daemon, client, n):
    """The process is stopped until every job has a tick due: the longest that Status takes until all are given."""
    given = status(client)["ticks"]
    target, longest = given + n, 0
    with daemon.stalled(STALL):
        pass
    while given < target:
        asked = time.monotonic()
        given = status(client)["ticks"]
        longest = max(longest, time.monotonic() - asked)
    return longest


def unaccounted(client):
    """Jobs whose ticks and missed ticks together are not what their grid says."""
    client.send_bytes(encode("List", {"match": ["*"]}, more=True))
    wrong, continues = 0, True
    while continues:
        reply = json.loads(client.frame())
        continues = reply.get("continues", False)
        for job in reply["parameters"]["jobs"]:
            points = round((job["nextUsec"] - job["startUsec"]) / (INTERVAL * 1e6))
            wrong += job["ticks"] + job["missed"] != points
    return wrong


def run(load):
    n = load["jobs"]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        daemon = Daemon(pathlib.Path(directory), args=("--log-level", "err"))
        try:
            daemon.wait_socket()
            with daemon.connect() as client:
                status(client)
                empty = daemon.proc_status("VmRSS")
                add_jobs(client, n)
                size = daemon.proc_status("VmRSS") - empty
                waited = longest_wait(daemon, client, n)
                wrong = unaccounted(client)
                missed = status(client)["missed"]
                began = time.monotonic()
                client.send_bytes(encode("Shutdown"))
                daemon.wait_exit()
                ended = time.monotonic() - began
        finally:
            fault = daemon.end()
    if fault:
        raise BenchError(fault)
    if missed < n:
        raise BenchError(f"only {missed} ticks were missed: the process was not stopped")
    return {"bytes": round(size * 1024 / n, 1), "status_ms": round(waited * 1000, 2), "wrong": wrong,
            "exit_s": round(ended, 2)}


BENCHES = (
    Bench(
        name="crowd",
        title=f"A daemon with very many jobs of {INTERVAL} s, stopped by SIGSTOP for {STALL} s",
        ours="twistyd",
        sides=(Side("twistyd", run),),
        cases=(Case("100,000 jobs", {"jobs": 100_000}), Case("1,000,000 jobs", {"jobs": 1_000_000})),
        figures=(
            Figure("bytes", "bytes of memory per job"),
            Figure("status_ms", "longest Status in the backlog, ms"),
            Figure("wrong", "jobs with ticks unaccounted for"),
            Figure("exit_s", "Shutdown, s"),
        ),
        promises=(
            Promise("100,000 jobs", "status_ms", goal=20),
            Promise("100,000 jobs", "wrong", goal=0, check=0),
            Promise("1,000,000 jobs", "bytes", goal=160),
            Promise("1,000,000 jobs", "status_ms", goal=20),
            Promise("1,000,000 jobs", "wrong", goal=0),
        ),
        turns=1,
    ),
)
