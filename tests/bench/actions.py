"""Commands: what one costs, one after the other, beside posix_spawn(3) alone and Twisted; and whether ticks wait."""

import resource
import subprocess
import time

from calls import lateness
from frame import PATIENCE, Bench, BenchError, Case, Figure, Promise, Side, absent_command, run_program
from ticks import twistyd

COMMAND = "/bin/true"
ACTION = f"log-level = warning\nmax-actions = 1\nmax-queued = 100000\n[action:nothing]\nexec = {COMMAND}\noverlap = queue\n"
TWISTED = """
import sys
from twisted.internet import protocol, reactor

class Run(protocol.ProcessProtocol):
    def processEnded(self, reason):
        begin()

left = int(sys.argv[1])

def begin():
    global left
    if left == 0:
        reactor.stop()
        return
    left -= 1
    reactor.spawnProcess(Run(), sys.argv[2], [sys.argv[2]], {})

reactor.callWhenRunning(begin)
reactor.run()
"""


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(n, run):
    """Wall and processor time of one of n, that of the commands included."""
    cpu, began = children_cpu(), time.monotonic()
    run()
    return {"wall_us": round((time.monotonic() - began) / n * 1e6, 1), "cpu_us": round((children_cpu() - cpu) / n * 1e6, 1)}


def run_spawn(load):
    return measured(load["n"], lambda: run_program("repeat", load["n"], COMMAND))


def run_twisted(load):
    command = ["/usr/bin/python3", "-c", TWISTED, str(load["n"]), COMMAND]
    return measured(load["n"], lambda: subprocess.run(command, check=True, timeout=PATIENCE))


def wait_for_actions(daemon, n):
    deadline = time.monotonic() + PATIENCE
    while (counts := daemon.status()["actions"])["started"] < n or counts["running"] > 0:
        if time.monotonic() > deadline:
            raise BenchError(f"only {counts['started']} of {n} commands were run")
        time.sleep(0.02)
    if counts["failed"] > 0:
        raise BenchError(f"{counts['failed']} commands failed")


def run_actions(load):
    def run():
        with twistyd({"timers": 0}, ACTION) as daemon:
            daemon.add(*({"kind": "once", "onFinish": "nothing"} for _ in range(load["n"])))
            wait_for_actions(daemon, load["n"])

    return measured(load["n"], run)


def beats(hooks):
    """A thousand ticks a second; with hooks, every one of them runs a command."""

    def run(load):
        with twistyd({"timers": 0}, ACTION.replace("max-actions = 1\n", "")) as daemon:
            daemon.add(*({"kind": "loop", "count": 10 * load["seconds"], "interval": "100ms", "delay": f"{i}ms",
                          "report": "none", **hooks} for i in range(100)))
            time.sleep(load["seconds"] + 0.2)
            if hooks:
                wait_for_actions(daemon, 1000 * load["seconds"])
            return lateness(daemon)

    return run


BENCHES = (
    Bench(
        name="actions",
        title=f"{COMMAND}, one after the other, start and end of the parent included",
        ours="twistyd",
        sides=(
            Side("twistyd", run_actions),
            Side("posix_spawn", run_spawn),
            Side("Twisted spawnProcess", run_twisted, absent_command("twist3") and absent_command("twistd3")),
        ),
        cases=(Case("200 commands", {"n": 200}),),
        figures=(Figure("wall_us", "us a command"), Figure("cpu_us", "CPU us a command, its own included")),
        promises=(Promise("200 commands", "cpu_us", "Twisted spawnProcess", goal=1),),
    ),
    Bench(
        name="beats",
        title="1,000 ticks a second, with a command at each tick and without",
        ours="with commands",
        sides=(Side("with commands", beats({"onTick": "nothing"})), Side("without", beats({}))),
        cases=(Case("1,000/s", {"seconds": 2}),),
        figures=(Figure("p50_us", "lateness p50 us"), Figure("p99_us", "lateness p99 us")),
        promises=(Promise("1,000/s", "p99_us", "without", goal=0.5),),
    ),
)
