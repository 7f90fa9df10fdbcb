"""What a bench is made of, and how one is run: the same load for ours and for the peers, in turns, in one run.

A part (timers.py and its like) says in its BENCHES what there is to measure:

    Bench(
        name="timers", title="...", ours="sched",
        sides=(Side("sched", run), Side("libevent", run, absent="is not installed")),
        cases=(Case("1,000 mixed", {"timers": 1000}, quick=True),),
        figures=(Figure("ns", "CPU ns per tick"),),
        promises=(Promise("1,000 mixed", "ns", "libevent", goal=1.0, check=0.8),),
    )

A side's run(load) does one run under a case's load and returns its figures, and whatever else is worth keeping; one
that is a program of BUILD/bench prints them as a line of JSON: run_program(). Every run is a line of BUILD/bench.jsonl.
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(ROOT, os.environ.get("TWISTY_BUILD", "build")).resolve()
PROGRAMS = BUILD / "bench"
TURNS = {"full": 5, "quick": 2, "check": 3}
PATIENCE = 120  # seconds for one run
NO_BREAK = "\u00a0"


@dataclasses.dataclass(frozen=True)
class Side:
    """One who takes part. `absent`: why not, here and now. `able`: can it do this load at all?"""

    name: str
    run: Callable[[dict], dict]
    absent: str = ""
    able: Callable[[dict], bool] = lambda load: True


@dataclasses.dataclass(frozen=True)
class Case:
    """A load, as the sides know it. `quick`: also of the quick run. `turns`: at most, where one takes long."""

    name: str
    load: dict
    quick: bool = False
    turns: int = sys.maxsize


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number that each run gives. `more` of it is better, or less. Without `compared` no ratios are shown."""

    key: str
    title: str
    more: bool = False
    compared: bool = True


@dataclasses.dataclass(frozen=True)
class Promise:
    """What a figure should be. With a `peer`: ours is so many times better, at least. Without: what ours is at most, or
    at least where more is better.

    `goal` is what is aimed at, and told. `check` is what `make bench-check` insists on: it leaves room for noise.
    `always`: every turn counts, not only their median.
    """

    case: str
    figure: str
    peer: str = ""
    goal: float | None = None
    check: float | None = None
    always: bool = False


@dataclasses.dataclass(frozen=True)
class Bench:
    name: str
    title: str
    ours: str
    sides: tuple
    cases: tuple
    figures: tuple
    promises: tuple = ()
    turns: int = 5  # at most; 1 where every turn gives the same, as instruction counts do
    around: Callable = contextlib.nullcontext  # a context that all its runs share, entered before the first one


class BenchError(Exception):
    """A run that did not do what it should."""


# Sides that are programs


def run_command(command, **options):
    """Run to the end; what it did. Its own words when it fails."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE, **options)
    except subprocess.CalledProcessError as e:
        raise BenchError(f"{' '.join(map(str, command))} exits with {e.returncode}: {e.stderr.strip()}") from None


def run_program(name, *arguments, under=()):
    """A program of the bench, under another one if need be, prints one line of JSON."""
    return json.loads(run_command([*under, PROGRAMS / name, *map(str, arguments)]).stdout)


def count_instructions(name, *arguments, under=()):
    """The same, and the user-space instructions of its function measured_run(): the same number on every machine."""
    command = [*under, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no",
               "--toggle-collect=measured_run", PROGRAMS / name, *map(str, arguments)]
    done = run_command(command)
    return json.loads(done.stdout) | {"instructions": int(re.search(r"Collected : (\d+)", done.stderr)[1])}


def absent_program(name):
    """For Side.absent: programs are built where their libraries are installed."""
    return "" if (PROGRAMS / name).exists() else "not installed when the bench was built"


def absent_command(command):
    return "" if shutil.which(command) else f"no {command} installed"


# Running a bench


def taking_part(bench, mode):
    """The sides that are here; for checks only those that are needed. Says who is not here, and why."""
    needed = {bench.ours} | {promise.peer for promise in bench.promises if promise.check is not None}
    sides = [side for side in bench.sides if mode != "check" or side.name in needed]
    for side in sides:
        if side.absent:
            print(f"left out of {bench.name}: {side.name}: {side.absent}")
    return [side for side in sides if not side.absent]


def run_turn(bench, case, side, turn, log):
    """One run. None when a peer cannot do it, which is told; ours has to."""
    try:
        result = side.run(case.load)
    except BenchError as e:
        if side.name == bench.ours:
            raise BenchError(f"{bench.name}, {case.name}, {side.name}: {e}") from None
        print(f"left out of {bench.name}, {case.name}: {side.name}: {e}")
        return None
    log.write(json.dumps({"bench": bench.name, "case": case.name, "side": side.name, "turn": turn} | result) + "\n")
    return result


def measure(bench, case, sides, turns, log):
    """Turn by turn, so that what the machine does meanwhile hits everyone. {side: [result by turn]}"""
    results = {side.name: [] for side in sides if side.able(case.load)}
    for turn in range(turns):
        for side in sides:
            if side.name not in results:
                continue
            result = run_turn(bench, case, side, turn, log)
            if result is None:
                del results[side.name]
            else:
                results[side.name].append(result)
    return results


def times_better(bench, results, figure, peer):
    """How many times better ours is than the peer: the median of what each turn says."""

    def better(ours, theirs):
        if figure.more:
            ours, theirs = theirs, ours
        return theirs / ours if ours else math.inf if theirs else 1.0

    pairs = zip(results[bench.ours], results[peer])
    return statistics.median(better(ours[figure.key], theirs[figure.key]) for ours, theirs in pairs)


def show(value):
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"


def print_case(bench, case, results):
    for figure in bench.figures:
        label = f"{case.name}: {figure.title}"
        for name, runs in results.items():
            if any(figure.key not in run for run in runs):
                continue
            values = [run[figure.key] for run in runs]
            compared = figure.compared and name != bench.ours and figure.key in results[bench.ours][0]
            times = f"{times_better(bench, results, figure, name):9.2f} x" if compared else ""
            spread = f"{show(min(values))} - {show(max(values))}" if len(values) > 1 else ""
            print(f"{label:<44} {name:<18} {show(statistics.median(values)):>10} {spread:>23} {times:>11}".rstrip(),
                  flush=True)
            label = ""


def print_ratios(measured):
    """Everything once more, a line for each figure: what ours is, and how many times better than each peer's."""
    print(f"\n{'in the median':<58} {'ours':>9}   ours is better")
    for bench, all_results in measured:
        for case_name, results in all_results.items():
            for figure in bench.figures:
                ours = [run[figure.key] for run in results[bench.ours] if figure.key in run]
                if not ours or not figure.compared:
                    continue
                times = [f"{peer} {show(times_better(bench, results, figure, peer))}x".replace(" ", NO_BREAK)
                         for peer in results if peer != bench.ours]
                line = f"{f'{bench.name}: {case_name}: {figure.title}':<58} {show(statistics.median(ours)):>9}   "
                lines = textwrap.fill(line + ", ".join(times), 120, subsequent_indent=" " * 71, break_on_hyphens=False)
                print(lines.replace(NO_BREAK, " ").rstrip())


def cases_of(bench, mode):
    """Which cases belong to a run of that mode."""
    checked = {promise.case for promise in bench.promises if promise.check is not None}
    return [case for case in bench.cases if mode == "full" or (case.quick if mode == "quick" else case.name in checked)]


def run_bench(bench, mode, turns, log):
    """Measure the cases of that mode; nothing without ours. {case: {side: [result by turn]}}"""
    turns = min(turns, bench.turns)
    began = time.monotonic()
    print(f"\n{bench.title}; {turns} turn{'s' * (turns > 1)}")
    sides = taking_part(bench, mode)
    if bench.ours not in (side.name for side in sides):
        return {}
    print(f"\n{'':<44} {'':<18} {'median':>10} {'min - max':>23} {'ours is':>11}")
    results = {}
    with bench.around():
        for case in cases_of(bench, mode):
            results[case.name] = measure(bench, case, sides, min(turns, case.turns), log)
            print_case(bench, case, results[case.name])
    print(f"{bench.name} took {time.monotonic() - began:.0f} s")
    return results


# Promises


def judge(bench, promise, all_results, bound):
    """Is it kept? True or false, and the value in words; None where the peer is not there."""
    results = all_results.get(promise.case, {})
    if bench.ours not in results:
        return False, "it was not measured"
    figure = next(f for f in bench.figures if f.key == promise.figure)
    if promise.peer:
        if promise.peer not in results:
            return None, f"{promise.peer} is not there"
        value = times_better(bench, results, figure, promise.peer)
        return value >= bound, f"{show(value)} times better than {promise.peer}, wanted at least {show(bound)}"
    values = [run[figure.key] for run in results[bench.ours]]
    worst = min if figure.more else max
    value = worst(values) if promise.always else statistics.median(values)
    if figure.more:
        return value >= bound, f"{show(value)}, wanted at least {show(bound)}"
    return value <= bound, f"{show(value)}, wanted at most {show(bound)}"


def tell_goals(bench, all_results):
    """Print which of the goals are reached."""
    for promise in bench.promises:
        if promise.goal is None or promise.case not in all_results:
            continue
        kept, words = judge(bench, promise, all_results, promise.goal)
        verdict = {True: "reached", False: "MISSED ", None: "unknown"}[kept]
        print(f"goal {verdict} {bench.name}, {promise.case}, {promise.figure}: {words}")


def failed_checks(bench, all_results):
    """Print which of the checks hold; how many do not."""
    failures = 0
    for promise in bench.promises:
        if promise.check is None:
            continue
        kept, words = judge(bench, promise, all_results, promise.check)
        verdict = {True: "ok    ", False: "FAILED", None: "absent"}[kept]
        failures += kept is False
        goal = "" if promise.goal is None else f" (goal {show(promise.goal)})"
        print(f"{verdict} {bench.name}, {promise.case}, {promise.figure}: {words}{goal}")
    return failures


def machine():
    """What all this was measured on."""
    cpus = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*: (.*)", cpus, re.MULTILINE)
    return {"cpu": model[1] if model else os.uname().machine, "cpus": os.cpu_count(), "kernel": os.uname().release,
            "load": os.getloadavg()[0], "at": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


def run_all(benches, mode, turns):
    """mode: full, quick or check. How many checks failed."""
    failures, measured = 0, []
    with open(BUILD / "bench.jsonl", "w", encoding="utf-8", buffering=1) as log:
        here = machine()
        log.write(json.dumps({"machine": here, "mode": mode}) + "\n")
        for bench in benches:
            if not cases_of(bench, mode):
                continue
            results = run_bench(bench, mode, turns, log)
            measured.append((bench, results))
            if mode == "check":
                failures += failed_checks(bench, results)
            else:
                tell_goals(bench, results)
    if mode != "check":
        print_ratios(measured)
        print(f"\n{here['cpus']} x {here['cpu']}, Linux {here['kernel']}, load {here['load']:.1f} before, "
              f"{os.getloadavg()[0]:.1f} after")
    print(f"\nEach run: {log.name}", file=sys.stderr)
    return failures
