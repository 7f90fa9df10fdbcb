"""Periodic timers in real time: the daemon as a whole beside other event loops (ticks_*); and how late a daemon is
whose log receiver is stuck, and whether it is ever early."""

import contextlib
import importlib.util
import json
import math
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

from frame import (PROGRAMS, ROOT, Bench, BenchError, Case, Figure, Promise, Side, absent_command, absent_program,
                   run_command)

sys.path.append(str(ROOT / "tests" / "functional"))
from harness import Daemon, Datagrams, journal_fields  # noqa: E402

GOLDEN = 0.6180339887498949
HERE = pathlib.Path(__file__).parent
SECONDS = [1000 * s for s in (2, 3, 4, 5, 6, 8, 10, 15, 20)]  # 0.2 ticks a second in the mean


# The daemon


def write_config(path, load, settings=""):
    """The same timers as the peers', due a while after the daemon has begun: see ticks.h."""
    jobs = []
    for i in range(load["timers"]):
        ms = load["intervals"][i % len(load["intervals"])]
        delay = load["hold"] + i * GOLDEN % 1 * ms
        jobs.append(f"[job:beat-{i}]\nkind = loop\ninterval = {ms}ms\ndelay = {int(1000 * delay)}us\n")
    path.write_text(f"[daemon]\n{settings}[defaults]\nreport = {load.get('report', 'none')}\n" + "".join(jobs))


@contextlib.contextmanager
def twistyd(load, settings="log-level = warning\n", **options):
    """A daemon with these jobs that answers, and ends with the block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        path = pathlib.Path(directory)
        write_config(path / "bench.conf", load, settings)
        daemon = Daemon(path, config_path=path / "bench.conf", **options)
        try:
            daemon.pid = daemon.wait_socket()["pid"]  # its own, also under a wrapper
            yield daemon
        finally:
            wrong = daemon.end()
        if wrong:
            raise BenchError(f"{wrong}: {daemon.transcript()}")


def cpu_ns(pid):
    """CPU time of all threads, exactly."""
    return sum(int(stat.read_text().split()[0]) for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))


def run_load(daemon, load):
    """Wait for the load to begin and to end. The ticks, what they cost, and how late they were."""
    began, cpu = daemon.list("beat-0")["beat-0"]["elapsedNsec"] / 1e6, cpu_ns(daemon.pid)
    if began >= load["hold"]:
        raise BenchError("the daemon was not ready before the load began")
    time.sleep((load["hold"] + load["span"] - began) / 1000)
    status, cpu = daemon.status(), cpu_ns(daemon.pid) - cpu
    late = {key.removesuffix("Nsec"): value for key, value in status["lateness"].items()}
    return late | {"ticks": status["ticks"], "missed": status["missed"], "suppressed": status["suppressed"],
                   "cpu_ns": cpu}


def with_figures(result):
    return result | {"ns": round(result["cpu_ns"] / result["ticks"], 1), "p50_us": round(result["p50"] / 1000, 1),
                     "p99_us": round(result["p99"] / 1000, 1)}


def run_twistyd(load):
    load = load | {"hold": 2 * load["hold"]}  # a million timers take longer to read than to set
    with twistyd(load) as daemon:
        return with_figures(run_load(daemon, load))


# The peers


def peer(name, command, absent, most=math.inf):
    """`most`: the timers that it can make in time."""

    def run(load):
        arguments = [load["timers"], ",".join(map(str, load["intervals"])), load["hold"], load["span"]]
        return with_figures(json.loads(run_command([*command, *map(str, arguments)]).stdout))

    return Side(name, run, absent, able=lambda load: load["timers"] <= most)


def program_peer(name, program):
    return peer(name, [PROGRAMS / program], absent_program(program))


def python_peer(name, module):
    absent = "" if importlib.util.find_spec(module) else f"no Python module {module} installed"
    return peer(name, [sys.executable, HERE / "ticks_python.py", module], absent, most=100_000)


# A log receiver that reads nothing, or everything


@contextlib.contextmanager
def log_receiver(reads):
    """A journal's socket that nobody reads, or a process of its own does."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        path = f"{directory}/journal.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(path)
            reader = subprocess.Popen(["cat"], stdin=receiver, stdout=subprocess.DEVNULL) if reads else None
            try:
                yield path
            finally:
                if reader is not None:
                    reader.kill()
                    reader.wait()


def run_with_receiver(reads):
    def run(load):
        settings = "log-level = info\nreport-limit = 0\n"
        with log_receiver(reads) as path:
            with twistyd(load, settings, target="journal", env={"TWISTYD_JOURNAL_SOCKET": path}) as daemon:
                result = with_figures(run_load(daemon, load))
        if (result["suppressed"] > 0) == reads:
            raise BenchError(f"{result['suppressed']} of {result['ticks']} lines were suppressed")
        return result

    return run


# Is a tick ever early? Seen from outside: by the kernel's time of its line


SO_TIMESTAMPNS = 35  # <asm/socket.h>; the socket module has no name for it
CLOCKS_AGREE = 2000  # ns: startUsec has whole microseconds


class StampedDatagrams(Datagrams):
    """A log receiver that keeps of each datagram when it was sent, in nanoseconds since the epoch."""

    def __init__(self, path):
        super().__init__(path)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def _read(self):
        with contextlib.suppress(OSError):
            while True:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 16, 64)
                if not data:
                    break
                seconds, ns = struct.unpack("qq", ancillary[0][2])
                self.add((10**9 * seconds + ns, data))


def due_times(daemon):
    """{name: (when its grid begins, its interval)}, in ns since the epoch. startUsec may be a little less than it was."""
    jobs = [daemon.list() for _ in range(5)]
    return {name: (1000 * max(seen[name]["startUsec"] for seen in jobs) + job["delayNsec"], job["intervalNsec"])
            for name, job in jobs[0].items()}


def lateness_of_lines(receiver, due):
    """Of each tick's line, in ns."""
    late = []
    for stamp, data in receiver.all():
        record = dict(journal_fields(data))
        if record.get("TWISTY_EVENT") == b"tick":
            begin, interval = due[record["TWISTY_JOB"].decode()]
            number = int(re.search(rb" tick=(\d+)", record["MESSAGE"])[1])
            late.append(stamp - begin - (number - 1) * interval)
    return late


def run_early(load):
    settings = f"log-level = info\nreport-limit = 0\nbackend = {load['backend']}\n"
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        receiver = StampedDatagrams(f"{directory}/journal.sock").start()
        with twistyd(load, settings, target="journal", env={"TWISTYD_JOURNAL_SOCKET": receiver.path}) as daemon:
            due, result = due_times(daemon), run_load(daemon, load)
            if daemon.status()["backend"] != load["backend"]:
                raise BenchError("another backend runs")
        receiver.close()
    late = lateness_of_lines(receiver, due)
    if len(late) + result["suppressed"] < 0.9 * result["ticks"]:
        raise BenchError(f"of {result['ticks']} ticks {len(late)} had a line and {result['suppressed']} were suppressed")
    return result | {"lines": len(late), "early": sum(ns < -CLOCKS_AGREE for ns in late),
                     "least_us": round(min(late) / 1000, 1)}


BACKENDS = ("epoll", "poll", "select")

BENCHES = (
    Bench(
        name="ticks",
        title="Periodic timers in real time: twistyd as a whole, and bare event loops; CPU with all system calls",
        ours="twistyd",
        sides=(
            Side("twistyd", run_twistyd),
            program_peer("libevent", "ticks_libevent"),
            program_peer("libevent precise", "ticks_libevent_precise"),
            program_peer("libuv", "ticks_libuv"),
            program_peer("libev", "ticks_libev"),
            python_peer("Twisted", "twisted"),
            python_peer("asyncio", "asyncio"),
            peer("Node", ["node", HERE / "ticks_node.js"], absent_command("node"), most=100_000),
        ),
        cases=(
            Case("10 jobs, 1,000/s", {"timers": 10, "intervals": [10], "hold": 150, "span": 500}, quick=True),
            Case("10,000 jobs, 10,000/s", {"timers": 10_000, "intervals": [1000], "hold": 200, "span": 600}),
            Case("1,000,000 jobs, 200,000/s", {"timers": 1_000_000, "intervals": SECONDS, "hold": 1500, "span": 1000}),
        ),
        figures=(
            Figure("ns", "CPU ns per tick"),
            Figure("p50_us", "lateness p50 us"),
            Figure("p99_us", "lateness p99 us"),
            Figure("early", "ticks too early", compared=False),
        ),
        promises=(
            Promise("10 jobs, 1,000/s", "p50_us", goal=60),
            Promise("10 jobs, 1,000/s", "p99_us", goal=150),
            Promise("1,000,000 jobs, 200,000/s", "p99_us", goal=1500),
            Promise("1,000,000 jobs, 200,000/s", "ns", "libevent", goal=10),
        ),
    ),
    Bench(
        name="stuck",
        title="twistyd's lateness when the receiver of its log is stuck, and when it reads: 10,000 lines a second",
        ours="receiver stuck",
        sides=(Side("receiver stuck", run_with_receiver(False)), Side("receiver reads", run_with_receiver(True))),
        cases=(
            Case("10,000 jobs, 10,000/s",
                 {"timers": 10_000, "intervals": [1000], "hold": 500, "span": 1500, "report": "all"}),
        ),
        figures=(
            Figure("p50_us", "lateness p50 us"),
            Figure("p99_us", "lateness p99 us"),
            Figure("ns", "CPU ns per tick"),
        ),
        promises=(Promise("10,000 jobs, 10,000/s", "p99_us", "receiver reads", goal=1 / 1.1),),
    ),
    Bench(
        name="early",
        title="Ticks that come too early, by the kernel's time of their lines",
        ours="twistyd",
        sides=(Side("twistyd", run_early),),
        cases=tuple(
            Case(backend, {"timers": 100, "intervals": [90, 100, 110], "hold": 1000, "span": 1000, "report": "all",
                           "backend": backend}, quick=backend == "epoll")
            for backend in BACKENDS),
        figures=(Figure("early", "ticks too early"), Figure("least_us", "least lateness us")),
        turns=2,
        promises=tuple(Promise(backend, "early", goal=0, check=0, always=True) for backend in BACKENDS),
    ),
)
