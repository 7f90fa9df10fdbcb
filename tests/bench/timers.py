"""Periodic timers on a virtual clock: our schedule, all that a job's tick does, and the peers' loops: timers_*.c."""

from frame import (Bench, BenchError, Case, Figure, Promise, Side, absent_command, absent_program, count_instructions,
                   run_program)

OURS = ("sched", "jobs")
PEERS = ("libevent", "libuv", "libev")
WARM_UP = 500  # ms of virtual time
COUNTED = 20_000  # the same, under valgrind


def case(n, mix, ticks, quick=False):
    return Case(f"{n:,} {mix}", {"timers": n, "mix": mix, "ticks": ticks}, quick)


def arguments(load, span):
    return ["--timers", load["timers"], "--warm-up", WARM_UP, "--span", span,
            *(["--distinct"] if load["mix"] == "distinct" else [])]


def checked(result):
    """A timer that comes a lap late is cheap, too: how many ticks there were tells."""
    if abs(result["ticks"] - result["expected"]) > 0.01 * result["expected"] + 2:
        raise BenchError(f"{result['ticks']} ticks, not {result['expected']}")
    return result


def side(name):
    """What is compared is per tick. Ours is quick, so it does more: the slots of a minute, too, have their turn."""

    def run(load):
        per_second = load["timers"] * {"mixed": 0.244, "distinct": 0.256}[load["mix"]]
        ticks = max(load["ticks"], 60 * per_second) if name in OURS else load["ticks"]
        result = checked(run_program(f"timers_{name}", *arguments(load, int(1000 * ticks / per_second))))
        return result | {"ns": round(1000 * result["cpu_us"] / result["ticks"], 2)}

    return Side(name, run, absent_program(f"timers_{name}"))


def counted_side(name):
    def run(load):
        result = checked(count_instructions(f"timers_{name}", *arguments(load, COUNTED)))
        return result | {"per_tick": round(result["instructions"] / result["ticks"], 1)}

    return Side(name, run, absent_program(f"timers_{name}") or absent_command("valgrind"))


BENCHES = (
    Bench(
        name="timers",
        title="Periodic timers on a virtual clock of 1 ms (tests/bench/virtual_clock.h)",
        ours="sched",
        sides=tuple(map(side, ("sched", *PEERS))),
        cases=(
            case(10, "mixed", 50_000),
            case(1_000, "mixed", 300_000),
            case(1_000, "distinct", 300_000),
            case(100_000, "mixed", 500_000, quick=True),
            case(100_000, "distinct", 500_000),
            case(1_000_000, "mixed", 100_000),
            case(1_000_000, "distinct", 100_000),
        ),
        figures=(Figure("ns", "CPU ns per tick"),),
        promises=(
            Promise("10 mixed", "ns", "libevent", goal=1, check=1),
            Promise("1,000 mixed", "ns", "libevent", goal=1, check=3),
            Promise("100,000 mixed", "ns", "libevent", goal=20, check=12),
            Promise("1,000,000 mixed", "ns", "libevent", goal=60, check=30),
        ),
    ),
    Bench(
        name="timers-counted",
        title="The same, in instructions (valgrind --tool=callgrind)",
        ours="sched",
        sides=tuple(map(counted_side, ("sched", *PEERS))),
        cases=(case(1_000, "mixed", 0, quick=True), case(100_000, "mixed", 0)),
        figures=(Figure("per_tick", "instructions per tick"),),
        turns=1,
        promises=(
            Promise("1,000 mixed", "per_tick", check=470),
            Promise("1,000 mixed", "per_tick", "libevent", check=2.5),
            Promise("100,000 mixed", "per_tick", check=300),
            Promise("100,000 mixed", "per_tick", "libevent", check=3.5),
        ),
    ),
    Bench(
        name="jobs",
        title="The whole path of a job's tick but for its report, on the same clock",
        ours="jobs",
        sides=tuple(map(side, ("jobs", "sched"))),
        cases=(
            case(1_000, "mixed", 300_000),
            case(1_000_000, "mixed", 100_000),
        ),
        figures=(Figure("ns", "CPU ns per tick"),),
        promises=(
            Promise("1,000,000 mixed", "ns", goal=100, check=400),
            Promise("1,000,000 mixed", "ns", "sched", check=0.25),
        ),
    ),
    Bench(
        name="jobs-counted",
        title="The same, in instructions (valgrind --tool=callgrind)",
        ours="jobs",
        sides=tuple(map(counted_side, ("jobs", "sched"))),
        cases=(case(100_000, "mixed", 0, quick=True),),
        figures=(Figure("per_tick", "instructions per tick"),),
        turns=1,
        promises=(Promise("100,000 mixed", "per_tick", check=560),),
    ),
    Bench(
        name="longest",
        title="The longest that the jobs hold the loop in one call (no reports)",
        ours="jobs",
        sides=(Side("jobs", lambda load: run_program("longest", load["jobs"]), absent_program("longest")),),
        cases=(Case("100,000 jobs", {"jobs": 100_000}), Case("1,000,000 jobs", {"jobs": 1_000_000})),
        figures=(Figure("add_us", "CPU us, adding one"), Figure("slice_us", "CPU us, a slice of 1,024 ticks")),
        turns=2,
        promises=(Promise("1,000,000 jobs", "add_us", goal=1000), Promise("1,000,000 jobs", "slice_us", goal=5000)),
    ),
)
