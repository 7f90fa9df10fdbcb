"""Jobs that are kept: how many a second are on the disk and acknowledged, beside a program that writes them to SQLite by
itself; how soon a million are back; and how late ticks come while the disk hangs."""

import contextlib
import pathlib
import tempfile
import time

from calls import MILLION, call
from frame import Bench, BenchError, Case, Figure, Promise, Side, absent_command, absent_program, run_program
from ticks import twistyd

SETTINGS = "log-level = warning\nmax-jobs = 2000000\n"
ROWS_ONE_BY_ONE = 500  # a million would take minutes
SYNC_US = 2000  # of a disk that is not as quick as this machine's may be: for each sync, in strace's hands
STALL_S = 5
BEATS = 10


@contextlib.contextmanager
def place():
    """A directory for a state file, on the disk that $TMPDIR is on."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        yield pathlib.Path(directory)


def keeping(directory, **options):
    return twistyd({"timers": 0}, f"{SETTINGS}state = {directory}/state.db\n", **options)


def slow_syncs(us, *more):
    """Put before a command: its syncs take so much longer, and nothing else is slowed down."""
    return ["strace", "-f", "--seccomp-bpf", "-q", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e",
            ":".join([f"inject=fdatasync,fsync:delay_enter={us}", *more])]


# Adds


def disk(load):
    return slow_syncs(load["sync_us"]) if "sync_us" in load else ()


def run_adds(load):
    with place() as directory, keeping(directory, wrapper=disk(load)) as daemon:
        batch = load.get("batch", 1)
        result = call(daemon.socket, "add", load["n"], load["connections"], load["depth"], batch)
        return result | {"jobs_per_second": round(1e9 * load["n"] * batch / result["wall_ns"]),
                         "s": round(result["wall_ns"] / 1e9, 2)}


def run_sqlite(rows_a_commit):
    def run(load):
        rows = ROWS_ONE_BY_ONE if rows_a_commit == 1 else load["n"] * load.get("batch", 1)
        with place() as directory:
            result = run_program("durable_sqlite", directory / "bench.db", rows, rows_a_commit, under=disk(load))
        return result | {"jobs_per_second": round(1e9 * rows / result["wall_ns"])}

    return run


ONE_BY_ONE = "sqlite, 1 row"
BY_THOUSANDS = "sqlite, 1,000 rows"
ABSENT = absent_program("durable_sqlite")

# A restart


def run_restart(load):
    del load
    with place() as directory:
        with keeping(directory) as daemon:
            call(daemon.socket, "add", MILLION // 1000, depth=4, batch=1000)
        began = time.monotonic()
        with keeping(directory) as daemon:
            ready = time.monotonic() - began
            if daemon.status()["jobs"]["live"] != MILLION:
                raise BenchError("not all of the jobs are back")
            return {"s": round(ready, 2), "kb": daemon.proc_status("VmHWM")}


# A disk that hangs


@contextlib.contextmanager
def beating(seconds):
    """A thousand ticks a second, and an add whose sync takes so long: strace does that."""
    wrapper = slow_syncs(int(seconds * 1e6), "when=4")  # three are those of a start
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(place())
        with keeping(directory):  # makes the file
            pass
        daemon = stack.enter_context(keeping(directory, wrapper=wrapper))
        daemon.add(*({"kind": "loop", "name": f"beat-{i}", "interval": "10ms", "delay": f"{i}ms", "report": "none",
                      "transient": True} for i in range(BEATS)))
        client = stack.enter_context(daemon.connect())
        client.send("Add", {"jobs": [{"kind": "loop", "interval": "1h"}]})
        yield daemon, client


def run_stall(load):
    """Two daemons at the same time, so that what the machine does meanwhile hits both."""
    del load
    with beating(STALL_S) as (daemon, client), beating(0) as (other, _):
        time.sleep(STALL_S - 1)
        late, beside = daemon.status()["lateness"]["p99Nsec"], other.status()["lateness"]["p99Nsec"]
        client.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise BenchError(f"the disk did not hang: {client.receive()}")
        client.socket.settimeout(2 * STALL_S)
        client.receive()
    return {"p99_us": round(late / 1000, 1), "beside_us": round(beside / 1000, 1), "ratio": round(late / beside, 2)}


BENCHES = (
    Bench(
        name="durable",
        title="Adds that are on the disk when they are acknowledged, beside rows that a program writes by itself",
        ours="twistyd",
        sides=(Side("twistyd", run_adds), Side(ONE_BY_ONE, run_sqlite(1), ABSENT),
               Side(BY_THOUSANDS, run_sqlite(1000), ABSENT)),
        cases=(
            Case("1 caller", {"connections": 1, "depth": 1, "n": 2000}),
            Case("64 callers", {"connections": 64, "depth": 1, "n": 40_000}, quick=True),
            Case("64 callers, pipelined", {"connections": 64, "depth": 64, "n": 100_000}),
            Case(f"64 callers, a sync takes {SYNC_US / 1000:g} ms",
                 {"connections": 64, "depth": 1, "n": 20_000, "sync_us": SYNC_US}),
            Case("a million, 1,000 a call", {"connections": 1, "depth": 4, "n": 1000, "batch": 1000}, turns=1),
        ),
        figures=(
            Figure("jobs_per_second", "jobs a second", more=True),
            Figure("s", "s from start to end", compared=False),
            Figure("server_us", "server's CPU us a call", compared=False),
        ),
        promises=(
            Promise("64 callers", "jobs_per_second", ONE_BY_ONE, goal=20),
            Promise(f"64 callers, a sync takes {SYNC_US / 1000:g} ms", "jobs_per_second", ONE_BY_ONE, goal=20),
            Promise("64 callers, pipelined", "jobs_per_second", ONE_BY_ONE, goal=20),
            Promise("a million, 1,000 a call", "s", goal=15),
        ),
    ),
    Bench(
        name="restart",
        title="A restart with 1,000,000 jobs in the state file",
        ours="twistyd",
        sides=(Side("twistyd", run_restart),),
        cases=(Case("ready", {}),),
        figures=(Figure("s", "s until it answers"), Figure("kb", "KiB at most")),
        turns=1,
        promises=(Promise("ready", "s", goal=5),),
    ),
    Bench(
        name="stall",
        title=f"1,000 ticks a second while one sync of the disk takes {STALL_S} s, beside a daemon whose disk is well",
        ours="twistyd",
        sides=(Side("twistyd", run_stall, absent_command("strace")),),
        cases=(Case("ticks", {}),),
        figures=(
            Figure("p99_us", "lateness p99 us"),
            Figure("beside_us", "of the other"),
            Figure("ratio", "so many times that"),
        ),
        turns=2,
        promises=(Promise("ticks", "ratio", goal=1.1),),
    ),
)
