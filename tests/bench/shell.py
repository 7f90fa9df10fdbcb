"""A timer from the shell, start to exit: twistyctl beside systemd-run, both where systemd has booted."""

import contextlib
import json

from booted import Booted
from frame import BUILD, Bench, BenchError, Case, Figure, Promise, Side, run_program
from ticks import twistyd

ADD = ("-q", "add", "once", "--delay", "1h", "--transient")  # like systemd-run's it is gone after a boot
SYSTEMD_RUN = ("systemd-run", "--quiet", "--collect", "--on-active=1h", "true")

BOOTED = Booted()


@contextlib.contextmanager
def booted():
    try:
        BOOTED.start()
        yield
    finally:
        BOOTED.end()


def repeat(n, *command):
    """In the container if there is one: what is compared runs in the same place."""
    if BOOTED.absent:
        return run_program("repeat", n, *command)
    return json.loads(BOOTED.run("repeat", n, *command))


def run_add(load):
    """To a daemon as it is installed; where there is no container to one of our own."""
    if BOOTED.absent:
        with twistyd({"timers": 0}) as daemon:
            return repeat(load["n"], BUILD / "twistyctl", "--socket", daemon.socket, *ADD)
    result = repeat(load["n"], "twistyctl", *ADD)
    BOOTED.run("twistyctl", "-q", "rm", "*")
    return result


def run_systemd_run(load):
    if BOOTED.absent:
        raise BenchError(BOOTED.absent)
    result = repeat(load["n"] // 5, *SYSTEMD_RUN)
    BOOTED.run("systemctl", "stop", "run-*.timer")
    return result


def run_true(load):
    return repeat(load["n"], "true")


BENCHES = (
    Bench(
        name="shell",
        title="A timer from the shell, start to exit; in a container with a booted systemd where there can be one",
        ours="twistyctl add",
        around=booted,
        sides=(
            Side("twistyctl add", run_add),
            Side("systemd-run", run_systemd_run, BOOTED.absent),
            Side("true", run_true),
        ),
        cases=(Case("add", {"n": 200}, quick=True),),
        figures=(Figure("wall_us", "us"), Figure("cpu_us", "CPU us")),
        promises=(
            Promise("add", "wall_us", "systemd-run", goal=10),
            Promise("add", "wall_us", goal=830),
            Promise("add", "cpu_us", goal=1000),
        ),
    ),
)
