#!/usr/bin/python3
"""Ours and the peers side by side: the same load, in turns, in one run; CPU time, medians and spread.

A bench is an entry of BENCHES: cases, the programs that take part, and the checks that hold between them. Every single
run is a line of JSON in BUILD/bench/results.jsonl, as the program printed it, with the bench, the case and the turn.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

BUILD = pathlib.Path(os.environ.get("TWISTY_BUILD", "build"))
PROGRAMS = BUILD / "bench"
TURNS = 5


@dataclasses.dataclass(frozen=True)
class Case:
    """One row group of a table. How much a program has to do is its own affair: what is compared is per tick."""

    name: str
    arguments: dict  # program: its command line after the name
    quick: bool = False


@dataclasses.dataclass(frozen=True)
class Check:
    """`peer` costs at least `least` times what ours costs, in CPU time, in the median of the turns."""

    case: str
    peer: str
    least: float


@dataclasses.dataclass(frozen=True)
class Count:
    """Ours takes at most `most` instructions a tick, and `peer` at least `least` times as many. Needs valgrind."""

    case: str
    peer: str
    least: float
    most: float


@dataclasses.dataclass(frozen=True)
class Bench:
    name: str
    title: str
    ours: str
    peers: tuple
    cases: tuple
    checks: tuple = ()
    counts: tuple = ()


def timers_case(n, mix, quick=False, ticks=1_000_000):
    """Ours is quick, so it does more: all its slots, those of a minute too, should have their turn."""
    per_second = n * {"mixed": 0.244, "distinct": 0.256}[mix]
    arguments = {}
    for program in ("sched", "libevent", "libuv", "libev"):
        wanted = max(ticks, 60 * per_second) if program == "sched" else ticks
        arguments[program] = ["--timers", str(n), "--warm-up", "2000", "--span", str(int(1000 * wanted / per_second))]
        if mix == "distinct":
            arguments[program].append("--distinct")
    return Case(f"{n:,} {mix}", arguments, quick)


BENCHES = (
    Bench(
        name="timers",
        title="Periodic timers on a virtual clock of 1 ms (tests/bench/virtual_clock.h): CPU ns per tick",
        ours="sched",
        peers=("libevent", "libuv", "libev"),
        cases=(
            timers_case(10, "mixed", ticks=50_000),
            timers_case(1_000, "mixed", quick=True, ticks=300_000),
            timers_case(1_000, "distinct", ticks=300_000),
            timers_case(100_000, "mixed", quick=True, ticks=500_000),
            timers_case(100_000, "distinct", ticks=500_000),
            timers_case(1_000_000, "mixed", quick=True, ticks=300_000),
            timers_case(1_000_000, "distinct", ticks=300_000),
        ),
        checks=(
            Check("1,000 mixed", "libevent", 1),
            Check("100,000 mixed", "libevent", 20),
            Check("1,000,000 mixed", "libevent", 60),
        ),
        counts=(
            Count("1,000 mixed", "libevent", least=2.5, most=470),
            Count("100,000 mixed", "libevent", least=3.5, most=300),
        ),
    ),
)


def program_of(bench, program):
    return PROGRAMS / f"{bench.name}_{program}"


def present(bench):
    """Who takes part. Says who does not."""
    programs = [bench.ours] + [p for p in bench.peers if program_of(bench, p).exists()]
    left_out = [p for p in bench.peers if p not in programs]
    if left_out:
        print(f"{bench.name}: left out, for not installed when the bench was built: {', '.join(left_out)}")
    return programs


def run_once(bench, case, program):
    command = [program_of(bench, program), *case.arguments[program]]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if abs(result["ticks"] - result["expected"]) > 0.01 * result["expected"] + 2:
        sys.exit(f"{bench.name}, {case.name}: {program} gave {result['ticks']} ticks, not {result['expected']}")
    return result


def measure(bench, case, programs, turns, log):
    """Turn by turn, so that what the machine does meanwhile hits everyone. {program: [ns per tick, by turn]}"""
    costs = {program: [] for program in programs}
    for turn in range(turns):
        for program in programs:
            result = run_once(bench, case, program)
            result |= {"bench": bench.name, "case": case.name, "turn": turn}
            result["ns"] = round(1000 * result["cpu_us"] / result["ticks"], 2)
            costs[program].append(result["ns"])
            log.write(json.dumps(result) + "\n")
    return costs


def ratio(costs, peer, ours):
    """The median of the ratios within a turn."""
    return statistics.median(p / o for p, o in zip(costs[peer], costs[ours]))


def print_case(bench, case, costs):
    for program, values in costs.items():
        spread = f"{min(values):,.1f} - {max(values):,.1f}"
        times = "" if program == bench.ours else f"{ratio(costs, program, bench.ours):7.1f} x"
        print(f"{case.name:<22} {program:<10} {statistics.median(values):>10,.1f}   {spread:>20} {times:>12}", flush=True)


def instructions(bench, case, program):
    """Instructions per tick in the measured span, counted by callgrind: the same number on every machine."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no",
               "--toggle-collect=measured_run", program_of(bench, program), *case.arguments[program]]
    command[-1 - command[::-1].index("--span") + 1] = "20000"
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1]) / json.loads(done.stdout)["ticks"]


def run_bench(bench, turns, wanted, log):
    """Measures the cases that are wanted. {case: costs}"""
    programs = present(bench)
    print(f"\n{bench.title}; {turns} turns\n")
    print(f"{'case':<22} {'program':<10} {'median':>10}   {'min - max':>20} {f'to {bench.ours}':>12}")
    all_costs = {}
    for case in bench.cases:
        if wanted(case):
            all_costs[case.name] = measure(bench, case, programs, turns, log)
            print_case(bench, case, all_costs[case.name])
    return all_costs


def check_ratios(bench, all_costs):
    failures = 0
    for check in bench.checks:
        costs = all_costs[check.case]
        if check.peer not in costs:
            sys.exit(f"{bench.name}: the check against {check.peer} needs it installed")
        times = ratio(costs, check.peer, bench.ours)
        failures += times < check.least
        print(f"{'ok    ' if times >= check.least else 'FAILED'} {bench.name}, {check.case}: {check.peer} costs "
              f"{times:.1f} times what {bench.ours} costs; at least {check.least} promised")
    return failures


def check_counts(bench, log):
    failures = 0
    if bench.counts and shutil.which("valgrind") is None:
        print(f"{bench.name}: instructions are not counted: no valgrind")
        return 0
    for count in bench.counts:
        case = next(c for c in bench.cases if c.name == count.case)
        ours, theirs = (instructions(bench, case, p) for p in (bench.ours, count.peer))
        good = ours <= count.most and theirs >= count.least * ours
        failures += not good
        log.write(json.dumps({"bench": bench.name, "case": case.name,
                              "instructions": {bench.ours: ours, count.peer: theirs}}) + "\n")
        print(f"{'ok    ' if good else 'FAILED'} {bench.name}, {case.name}: {bench.ours} takes {ours:.0f} instructions "
              f"a tick, {count.peer} {theirs:.0f}; at most {count.most} and {count.least} times as many promised")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer cases")
    parser.add_argument("--check", action="store_true", help="the cases with promises, and fail if one does not hold")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("bench", nargs="*", help="of " + ", ".join(b.name for b in BENCHES))
    options = parser.parse_args()

    failures = 0
    with open(PROGRAMS / "results.jsonl", "w", encoding="utf-8") as log:
        for bench in BENCHES:
            if options.bench and bench.name not in options.bench:
                continue
            checked = {check.case for check in bench.checks}
            all_costs = run_bench(bench, options.turns, log=log, wanted=lambda case, checked=checked: (
                case.name in checked if options.check else case.quick or not options.quick))
            if options.check:
                failures += check_ratios(bench, all_costs) + check_counts(bench, log)
    print(f"\nEach run: {PROGRAMS / 'results.jsonl'}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
