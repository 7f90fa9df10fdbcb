"""The time core on a virtual clock, against Python's fractions and Twisted's LoopingCall."""

import os
import pathlib
import random
import re
import subprocess
from fractions import Fraction

import pytest
from twisted.internet.task import Clock, LoopingCall

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIM_JOB = ROOT / os.environ.get("TWISTY_BUILD", "build") / "tests" / "sim_job"

SECOND = 10**9
SPAN_MAX = (2**63 - 1) // 2
TIME_NEVER = 2**63 - 1
UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": SECOND, "min": 60 * SECOND, "h": 3600 * SECOND, "d": 86400 * SECOND}


def sim(commands):
    """Give sim_job these commands, each a tuple of fields; its answers, one for each."""
    text = "".join("\t".join(str(field) for field in command) + "\n" for command in commands)
    done = subprocess.run([SIM_JOB], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split("\n")[:-1]
    assert len(answers) == len(commands)
    return answers


def half_up(exact):
    """A fraction rounded to the nearest whole number, halves up."""
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


def interval_of(text):
    """The exact nanoseconds between two ticks of a rate such as 0.5, 30/min or 1/26h."""
    number, _, span = text.partition("/")
    amount, unit = re.fullmatch(r"([0-9.]*)([a-z]*)", span).groups()
    return Fraction(amount or 1) * UNITS[unit or "s"] / Fraction(number)


def random_rate(rng):
    """A rate as people might write it, and some that they would not."""
    shape = rng.randrange(4)
    if shape == 0:
        return f"{rng.randint(1, 10 ** rng.randint(1, 6))}/{rng.choice(['s', 'min', 'h', 'd'])}"
    if shape == 1:
        return f"{rng.randint(0, 999)}.{rng.randint(1, 10**6):0{rng.randint(1, 7)}}"
    if shape == 2:
        return f"1/{rng.randint(1, 10 ** rng.randint(1, 8))}{rng.choice(['us', 'ms', 's'])}"
    return f"{rng.randint(1, 10**9)}/{rng.randint(10**9, 10**18)}ns"


def rates(seed, n):
    """These from the issue, and n random ones: the text, and (ns, ticks) as sim_job read it."""
    rng = random.Random(seed)
    texts = ["3/s", "7/min", "0.3", "1", "0.5", "30/min", "2/h", "1/26h"] + [random_rate(rng) for _ in range(n)]
    answers = sim([("rate", text) for text in texts])
    return rng, [(text, tuple(map(int, answer.split("\t")[:2]))) for text, answer in zip(texts, answers)]


def test_rates_are_the_exact_fraction():
    for text, (ns, ticks) in rates(1, 2000)[1]:
        interval = interval_of(text)
        assert (ns, ticks) == (interval.numerator, interval.denominator), text


def test_no_rate_drifts():
    rng, cases = rates(2, 2000)
    asked = []
    for text, rate in cases:
        for k in (0, 1, 10**6, 10**9, rng.randrange(2 ** rng.randrange(1, 64))):
            asked.append((text, rate, k))
    answers = sim([("due", *rate, k) for _, rate, k in asked])
    for (text, _, k), answer in zip(asked, answers):
        due = half_up(k * interval_of(text))
        assert answer == (str(due) if due < TIME_NEVER else "never"), f"tick {k} of {text}"


def test_the_millionth_and_the_billionth_tick():
    expected = {
        "3/s": (333333333, 333333333333333, 333333333333333333),
        "7/min": (8571428571, 8571428571428571, 8571428571428571429),
        "0.3": (3333333333, 3333333333333333, 3333333333333333333),
    }
    for text, due in expected.items():
        rate = sim([("rate", text)])[0].split("\t")[:2]
        assert tuple(map(int, sim([("due", *rate, k) for k in (1, 10**6, 10**9)]))) == due
        assert due == tuple(half_up(k * interval_of(text)) for k in (1, 10**6, 10**9))


def test_ticks_by_is_the_exact_inverse():
    rng, cases = rates(3, 2000)
    asked = []
    for text, rate in cases:
        interval = interval_of(text)
        k = rng.randrange(1, 2 ** rng.randrange(1, 60))
        due = half_up(k * interval)
        for elapsed in (0, due - 1, due, due + 1, rng.randrange(SPAN_MAX)):
            if 0 <= elapsed <= SPAN_MAX:
                asked.append((text, rate, elapsed))
    answers = sim([("by", *rate, elapsed) for _, rate, elapsed in asked])
    for (text, _, elapsed), answer in zip(asked, answers):
        k = int(answer)
        assert half_up(k * interval_of(text)) > elapsed, f"{text} by {elapsed}"
        assert half_up((k - 1) * interval_of(text)) <= elapsed, f"{text} by {elapsed}"


def test_rates_survive_the_round_trip():
    cases = rates(4, 5000)[1]
    formatted = [answer.split("\t")[2] for answer in sim([("rate", text) for text, _ in cases])]
    again = sim([("rate", text) for text in formatted])
    for (text, rate), shown, answer in zip(cases, formatted, again):
        assert answer == f"{rate[0]}\t{rate[1]}\t{shown}", text
        assert interval_of(shown) == interval_of(text)


def test_spans_survive_the_round_trip():
    rng = random.Random(5)
    spans = [rng.randrange(2 ** rng.randrange(1, 62)) // unit * unit for unit in UNITS.values() for _ in range(1000)]
    shown = [answer.split("\t")[1] for answer in sim([("span", f"{ns}ns") for ns in spans])]
    assert sim([("span", text) for text in shown]) == [f"{ns}\t{text}" for ns, text in zip(spans, shown)]
    for ns, text in zip(spans, shown):
        parts = [re.fullmatch(r"([0-9.]+)([a-z]+)", part).groups() for part in text.split(" ")]
        assert sum(Fraction(amount) * UNITS[unit] for amount, unit in parts) == ns, text


@pytest.mark.parametrize(
    "text, why",
    [
        ("0", "is zero"),
        ("-1", "is negative"),
        ("nan", "is not a number"),
        ("inf", "is infinite"),
        ("1e400", "is not a rate such as 0.5, 30/min or 1/26h"),
        ("0x1p3", "is not a rate such as 0.5, 30/min or 1/26h"),
        ("0,5", "is not a rate such as 0.5, 30/min or 1/26h"),
        ("2s", "is a time span, not a rate; did you mean interval?"),
        ("1000000001", "is more than a tick a nanosecond"),
    ],
)
def test_a_rate_that_is_none_is_refused(text, why):
    assert sim([("rate", text)]) == [f"error {why}"]


def events(answer):
    """[(word, left, tick, missed, due, at)] of a line of sim_job."""
    parsed = []
    for event in answer.split():
        word, left, *numbers = event.split(",")
        parsed.append((word, None if left == "never" else int(left), *map(int, numbers)))
    return parsed


def test_the_countdown():
    """5 at one a second: 5, 4, 3, 2, 1 are left at 0, 1, 2, 3, 4 s, and it is finished at 5 s."""
    told = [("new", 0, "kind=countdown", "count=5", "rate=1")] + [("run", t * SECOND) for t in range(7)]
    seen = [(e[0], e[1], e[5] // SECOND) for answer in sim(told) for e in events(answer)]
    ticks = [("tick", 5 - t, t) for t in range(5)]
    assert seen == [("start", 5, 0), *ticks, ("finish", 0, 5)]


# Twisted counts in floats; a multiple of this many nanoseconds is a multiple of 1/1024 s, which a float holds exactly.
BEAT = Fraction(SECOND, 1024)


def nanoseconds(beats):
    """A moment on the grid of 1/1024 s as sim_job takes it: rounded as a due time is."""
    return half_up(beats * BEAT)


def random_schedule(rng):
    """An interval, and the moments at which the loop gets to run, in beats: punctual, late, and stalled for long."""
    interval = rng.choice([1, 3, 7, 512, 1000, 1024, rng.randint(1, 5000)])
    now, wakes = 0, []
    for _ in range(rng.randint(5, 60)):
        grid = now // interval * interval
        now = rng.choice(
            [
                grid + interval,  # in time
                grid + interval + rng.randint(0, interval),  # late
                grid + interval * rng.randint(2, 20),  # stalled, and awake exactly on a later point
                now + rng.randint(0, interval * 20),  # stalled
                now + rng.randint(0, interval),  # awake for somebody else
                grid + interval - 1,  # too early by a beat
            ]
        )
        wakes.append(max(now, wakes[-1] if wakes else 0))
        now = wakes[-1]
    return interval, wakes


def looping_call(interval, immediate, wakes):
    """When Twisted calls, in beats."""
    clock, calls = Clock(), []
    call = LoopingCall(lambda: calls.append(clock.seconds() * 1024))
    call.clock = clock
    call.start(interval / 1024, now=immediate)
    for wake in wakes:
        clock.advance(wake / 1024 - clock.seconds())
    call.stop()
    return calls


def ticks_of_job(interval, immediate, wakes):
    """When the job ticks, in nanoseconds, under the same wakes; and the number of each tick."""
    # 1024/N as a rate is the interval of N beats exactly
    keys = ("kind=loop", f"rate=1024/{interval}", "missed=delay", f"immediate={'yes' if immediate else 'no'}")
    told = [("new", 0, *keys), ("run", 0)] + [("run", nanoseconds(wake)) for wake in wakes]
    seen = [e for answer in sim(told) for e in events(answer) if e[0] == "tick"]
    assert [e[2] for e in seen] == list(range(1, len(seen) + 1))
    assert all(due <= at for _, _, _, _, due, at in seen)
    return [e[5] for e in seen]


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("seed", range(15))
def test_delay_ticks_as_looping_call_does(seed, immediate):
    """30 times 10 schedules, tick by tick."""
    rng = random.Random(seed)
    for n in range(10):
        interval, wakes = random_schedule(rng)
        calls = looping_call(interval, immediate, wakes)
        assert all(call == int(call) for call in calls), "the schedule is not exact in floats"
        expected = [nanoseconds(int(call)) for call in calls]
        seen = ticks_of_job(interval, immediate, wakes)
        assert seen == expected, f"schedule {n}: interval {interval}/1024 s, wakes {wakes}"


@pytest.mark.parametrize("policy", ["coalesce", "delay", "burst"])
@pytest.mark.parametrize("kind", ["countdown", "loop"])
def test_every_grid_point_is_accounted_for(kind, policy):
    rng = random.Random(f"{kind} {policy}")
    for _ in range(40):
        text, count = rng.choice(["3/s", "7/min", "0.3", "1", "1/26h"]), rng.randint(1, 40)
        interval = interval_of(text)
        # countdown: points 0 to N-1 tick and point N ends it; loop: the last tick ends it
        last = count if kind == "countdown" else count - 1
        told, now = [("new", 0, f"kind={kind}", f"count={count}", f"rate={text}", f"missed={policy}")], 0
        while now <= half_up(last * interval):
            told += [("run", now), ("state", now)]
            now += half_up(interval * rng.choice([Fraction(1, 3), 1, Fraction(5, 2), rng.randint(1, 12)]))
        told += [("run", now), ("state", now)]
        answers = sim(told)
        for (_, at, *_), ran, answer in zip(told[1::2], answers[1::2], answers[2::2]):
            state, _, ticks, missed, _ = answer.split("\t")
            passed = next(k for k in range(10**6) if half_up(k * interval) > at)
            if policy != "delay":
                assert int(ticks) + int(missed) == min(passed, count), f"{text} {count} at {at}"
                assert (state == "finished") == (at >= half_up(last * interval)), f"{text} {count} at {at}"
            elif state != "finished" and int(ticks) < count:
                assert int(ticks) + int(missed) == passed, f"{text} {count} at {at}"
            assert policy != "burst" or int(missed) == 0
            if "finish" in ran and policy != "delay":
                assert events(ran)[-1][4] == half_up(last * interval), "when the end was due"
