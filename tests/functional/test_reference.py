"""The reference programs: order, counts and times of each, as twistyd shows them to somebody who looks from outside.

Times have two bounds. None may come early: so many seconds after a moment *before* the job was started. None may be
later than grace() after its time, counted from a moment *after* the job was started.
"""

import re
import shutil
import signal
import subprocess
import time

import pytest

from harness import BUILD, EXAMPLES, ROOT, grace, wait_until
from varlink import DEADLINE, VarlinkError

BACKENDS = {"simple.conf": "epoll", "simple-poll.conf": "poll", "simple-select.conf": "select"}


def assert_time(d, line, not_before, from_start, seconds):
    """The line came `seconds` after the job's start, which lies between the two moments."""
    at = f"at {line.at - not_before:.4f} s, not {seconds}: {line.text}\n{d.transcript()}"
    assert line.at >= not_before + seconds, f"early, {at}"
    assert line.at <= from_start + seconds + grace(), f"late, {at}"


def assert_countdown(d, name, count, interval, not_before, from_start):
    """The job's lines are those of a countdown: count, count-1 ... 1 left, each at its time, and the finish."""
    start, *ticks, finish = d.lines(rf" job={name} ")
    assert start.text.startswith(f"start job={name} id="), d.transcript()
    assert start.fields["kind"] == "countdown" and start.number("count") == count
    assert [(t.word, t.number("left"), t.number("count")) for t in ticks] == [
        ("tick", left, count) for left in range(count, 0, -1)
    ], d.transcript()
    assert finish.word == "finish" and finish.fields["missed"] == "0", d.transcript()
    for k, line in enumerate([*ticks, finish]):
        assert_time(d, line, not_before, from_start, k * interval)


def assert_from_config(d, name, count, interval):
    start = d.lines(rf"^start job={name} ")[0]
    assert start.fields["source"] == "config"
    assert_countdown(d, name, count, interval, d.spawned, start.at)


def assert_done(d):
    """It has stopped by itself, and that is the last that it said."""
    assert d.wait_exit() == 0
    assert re.match(r'exit why=done ', d.texts()[-1]), d.transcript()


@pytest.mark.parametrize("path", [*EXAMPLES.glob("*.conf"), ROOT / "conf/twistyd.conf"], ids=lambda p: p.name)
def test_every_configuration_of_the_tree_is_right(path):
    result = subprocess.run([BUILD / "twistyd", "--check", "-c", path], capture_output=True, text=True,
                            timeout=DEADLINE, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result
    assert re.fullmatch(rf"{re.escape(str(path))}: ok, \d+ jobs?\n", result.stdout)


def test_installed_configuration_shows_the_settings_as_they_are(tmp_path):
    """Every setting that conf/twistyd.conf explains can be uncommented."""
    text = (ROOT / "conf/twistyd.conf").read_text(encoding="utf-8")
    path = tmp_path / "all.conf"
    path.write_text(re.sub(r"^#(?=\[|[a-z-]+ = )", "", text, flags=re.MULTILINE), encoding="utf-8")
    result = subprocess.run([BUILD / "twistyd", "--check", "-c", path], capture_output=True, text=True,
                            timeout=DEADLINE, check=False)
    assert (result.returncode, result.stdout) == (0, f"{path}: ok, 1 job\n"), result


# simple, simple-poll, simple-select


def may_trace():
    """Can a process here trace its child? Containers may forbid it."""
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("example", BACKENDS)
def test_idle_daemon_makes_no_system_call(daemon, directory, example):
    """strace starts the daemon, as an ordinary user may trace his own children only."""
    assert shutil.which("strace"), "strace is not installed: make deps"
    if not may_trace():
        pytest.skip("this system forbids tracing; test_idle_daemon_never_wakes remains")
    trace = directory / "trace"
    d = daemon(example=example, wrapper=["strace", "-f", "-ttt", "-o", str(trace)])
    time.sleep(3.2)
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    calls = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    at = next(i for i, line in enumerate(calls) if "--- SIGTERM" in line)
    waiting, term = calls[at - 1], calls[at]
    assert re.search(r"\b(epoll_p?wait\w*|p?poll|p?select6?)\(", waiting), "\n".join(calls[at - 20 : at + 1])
    idle = float(term.split()[1]) - float(waiting.split()[1])
    assert idle >= 3, f"a system call {idle:.3f} s before the end of the wait: {waiting}"


def test_idle_daemon_never_wakes(daemon):
    """The kernel's own count of when it went to sleep does not change, nor does its processor time."""
    daemons = [daemon(example=name) for name in BACKENDS]
    statuses = [d.status() for d in daemons]  # and that connection closes before the daemon sleeps again
    for d in daemons:
        d.wait_quiet()
    before = [(d.proc_status("voluntary_ctxt_switches"), d.cpu_seconds()) for d in daemons]
    time.sleep(3)  # the measured time
    after = [(d.proc_status("voluntary_ctxt_switches"), d.cpu_seconds()) for d in daemons]
    assert after == before
    assert [s["nextName"] for s in statuses] == [None] * 3


@pytest.mark.parametrize("example, backend", BACKENDS.items())
def test_status_names_the_backend(daemon, example, backend):
    d = daemon(example=example)
    assert d.status()["backend"] == backend
    assert d.wait_for("^ready").fields["backend"] == backend
    assert re.search(rf"^backend +{backend}$", d.ctl("status").stdout, re.MULTILINE)


@pytest.mark.parametrize("backend", ["epoll", "poll", "select"])
def test_backend_option_goes_before_the_configuration(daemon, backend):
    d = daemon("[daemon]\nbackend = poll\n", args=["--backend", backend])
    assert d.status()["backend"] == backend
    d.add({"kind": "countdown", "count": 2, "rate": "20"})
    d.wait_for("^finish")


def test_unknown_backend_is_an_error(daemon):
    d = daemon("[daemon]\nbackend = pool\n", ready=False)
    assert d.wait_exit() == 78, d.transcript()
    (text,) = d.texts()
    assert text.startswith(f"{d.config}:2: daemon: backend: ") and "poll" in text
    d = daemon(args=["--backend", "pool"], ready=False)
    assert d.wait_exit() == 64, d.transcript()
    assert "--backend" in d.texts()[0] and "pool" in d.texts()[0]


# hello


def test_hello_runs_first_thing_in_file_order(daemon):
    d = daemon(example="hello.conf")
    assert_done(d)
    names = ["hello", "how-are-you", "goodbye"]
    words = [line.text.split(" id=")[0] for line in d.lines()]
    assert [w.split(" ")[0] if " job=" not in w else w for w in words] == [
        *(f"start job={n}" for n in names),
        "ready",
        *(f"finish job={n}" for n in names),
        "exit",
    ], d.transcript()
    assert d.lines("^finish")[0].fields["msg"] == "Hello from the loop"
    ready = d.wait_for("^ready").at
    assert all(line.at - ready < grace() for line in d.lines("^finish"))


# stack


def test_stack_shows_what_the_loop_waits_on(daemon):
    d = daemon(example="stack.conf")
    d.wait_for("^tick job=blink")
    status = d.status(loop=True)
    sources = {(s["purpose"], s["detail"] if s["purpose"] == "listener" else None): s for s in status["loop"]}
    assert sources["clock", None]["waitsFor"] == ["read"]
    assert sources["listener", d.socket]["waitsFor"] == ["read"]
    assert {s["number"] for s in status["loop"] if s["waitsFor"] == ["signal"]} == {
        signal.SIGTERM, signal.SIGINT, signal.SIGHUP,
    }
    connections = [s for s in status["loop"] if s["purpose"] == "connection"]
    assert len(connections) == status["connections"] == 1
    assert status["nextName"] == "blink"
    assert 9 * 10**9 < status["nextNsec"] <= 10 * 10**9
    assert "loop" not in d.status()
    text = d.ctl("status", "--loop").stdout
    assert re.search(r"^next +blink in ", text, re.MULTILINE), text
    for purpose in ("clock", "listener", "connection", "stop", "reload"):
        assert re.search(rf"^  {purpose}\b", text, re.MULTILINE), text
    d.call("Stop", {"match": ["blink"]})
    assert d.status()["nextName"] == "alarm"


# countdown and three counters, in real time


def test_countdown(daemon):
    d = daemon(example="countdown.conf")
    assert_done(d)
    assert_from_config(d, "countdown", 5, 1)
    assert [line.word for line in d.lines()] == ["start", "ready", *["tick"] * 5, "finish", "exit"]
    finish = d.lines("^finish")[0]
    assert 5 <= float(finish.fields["elapsed"].removesuffix("s")) <= 5 + grace()


THREE_COUNTERS = {"counter-1": (3, 3), "counter-2": (3, 1), "countdown": (5, 1)}


def test_three_counters(daemon):
    d = daemon(example="three-counters.conf")
    assert_done(d)
    for name, (count, interval) in THREE_COUNTERS.items():
        assert_from_config(d, name, count, interval)
    assert [line.fields["job"] for line in d.lines("^finish")] == ["counter-2", "countdown", "counter-1"]
    assert d.lines()[-2].text.startswith("finish job=counter-1 "), "the daemon stops after the last and not before"
    assert d.lines("msg=")[0].fields["msg"] == "Counter 1"


def test_reference_countdowns_added_to_a_running_loop(daemon):
    """The same jobs, added with twistyctl to a daemon that already runs one; it stops after the last."""
    d = daemon("[daemon]\nexit-when-done = yes\n[job:before]\nkind = loop\ninterval = 250ms\nbackground = yes\n")
    d.wait_for("^tick job=before", count=2)
    asked, added = {}, {}
    for name, (count, interval) in {**THREE_COUNTERS, "five": (5, 1)}.items():
        schedule = ["--rate", "1"] if interval == 1 else ["--interval", f"{interval}s"]
        asked[name] = time.monotonic()
        d.ctl("add", "countdown", count, *schedule, "--name", name)
        added[name] = time.monotonic()
    assert_done(d)
    for name, (count, interval) in {**THREE_COUNTERS, "five": (5, 1)}.items():
        assert d.lines(rf"^start job={name} ")[0].fields["source"] == "control"
        assert_countdown(d, name, count, interval, asked[name], added[name])
    assert [line.fields["job"] for line in d.lines("^finish")] == ["counter-2", "countdown", "five", "counter-1"]
    beats = d.lines("^tick job=before")
    assert [line.number("tick") + line.number("missed") for line in beats][-1] >= 36, "the first job went on meanwhile"


def test_jobs_added_over_the_socket_tick_exactly(daemon):
    """What the daemon itself says of its times: never early, and never a tick too few."""
    d = daemon()
    with d.connect() as watcher:
        events = (reply["event"] for reply in watcher.stream("Watch"))
        assert next(events)["event"] == "ready"
        (job,) = d.add({"kind": "countdown", "count": 12, "rate": "30", "missed": "burst"})
        seen = []
        while not seen or seen[-1]["event"] != "finish":
            seen.append(next(events))
    start, *ticks, finish = seen
    assert start["event"] == "start" and job["name"] == start["name"]
    assert [t["left"] for t in ticks] == list(range(12, 0, -1))
    for k, event in enumerate([*ticks, finish]):
        due = k * 10**9 // 30
        assert event["elapsedNsec"] >= due
        assert event["lateUsec"] * 1000 <= event["elapsedNsec"] - due <= event["lateUsec"] * 1000 + 2000
        assert event["lateUsec"] < grace() * 10**6


def test_dense_ticks_are_gathered(daemon):
    """Four thousand a second are met with few wake-ups; with accuracy 0s, which a reload brings, each with its own."""
    jobs = "".join(f"[job:slow-{i}]\nkind = loop\ndelay = {250 * i}us\n" for i in range(400))
    d = daemon("[daemon]\naccuracy = 5ms\n[defaults]\ninterval = 100ms\nreport = none\n" + jobs)

    def wakes_per_tick():
        def counts():
            return d.proc_status("voluntary_ctxt_switches"), d.status()["ticks"]

        settled = counts()[1] + 2000  # the mean that it goes by is that of the last wakes
        wait_until(lambda: counts()[1] >= settled)
        wakes, ticks = counts()
        time.sleep(0.5)
        now = counts()
        return (now[0] - wakes) / (now[1] - ticks)

    gathered = wakes_per_tick()
    assert gathered < 0.2
    d.config.write_text(d.config.read_text().replace("5ms", "0s"))
    d.call("Reload")
    assert wakes_per_tick() > 2 * gathered


# LoopingCall: a loop that keeps its grid


def test_looping_call(daemon):
    d = daemon(example="looping-call.conf")
    assert_done(d)
    start = d.lines("^start")[0]
    ticks = d.lines("^tick")
    assert [t.number("tick") for t in ticks] == list(range(1, 11))
    for k, line in enumerate(ticks):
        assert_time(d, line, d.spawned, start.at, k * 0.5)
    assert [line.word for line in d.lines()[-2:]] == ["finish", "exit"]
    assert_time(d, d.lines("^finish")[0], d.spawned, start.at, 4.5)


def test_loop_stops_when_told(daemon):
    d = daemon()
    (job,) = d.add({"kind": "loop", "rate": "50", "name": "beat"})
    d.wait_for("^tick job=beat", count=3)
    (stopped,) = d.call("Stop", {"match": ["beat"]})["jobs"]
    assert stopped["state"] == "stopped" and stopped["nextNsec"] is None
    assert stopped["ticks"] + stopped["missed"] >= 3 and job["count"] is None
    line = d.wait_for("^stop job=beat")
    assert line.fields["why"] == "control" and line.number("tick") >= 3
    d.add({"kind": "countdown", "count": 3, "rate": "20", "name": "after"})
    d.wait_for("^finish job=after")
    assert d.lines(" job=beat ")[-1] == line, "a stopped loop ticks no more"


def stalled_loop(daemon, policy, kind="loop", count=20, after=5, stall=0.47):
    """A job of ten ticks a second whose daemon stands still for a while after its fifth tick."""
    d = daemon(f"[daemon]\nexit-when-done = yes\n"
               f"[job:beat]\nkind = {kind}\ninterval = 100ms\ncount = {count}\nmissed = {policy}\n")
    d.wait_for("^tick", count=after)
    with d.stalled(stall):
        pass
    assert_done(d)
    return d, d.lines("^start")[0], d.lines("^tick"), d.lines("^finish")[0]


def test_stalled_loop_coalesce(daemon):
    d, start, ticks, finish = stalled_loop(daemon, "coalesce")
    passed = 0
    for line in ticks:
        passed += 1 + line.number("missed")
        assert line.number("tick") == passed, f"the count is not as it should be then: {line.text}\n{d.transcript()}"
        assert line.at >= d.spawned + (passed - 1) * 0.1, f"early: {line.text}\n{d.transcript()}"
    assert passed == 20 and len(ticks) + finish.number("missed") == 20
    assert finish.number("missed") >= 3, d.transcript()
    assert_time(d, finish, d.spawned, start.at, 1.9)  # it ends on time


def test_stalled_loop_delay(daemon):
    d, start, ticks, finish = stalled_loop(daemon, "delay")
    assert [line.number("tick") for line in ticks] == list(range(1, 21)), "missed ticks do not count"
    point = -1
    for line in ticks:
        point += 1 + line.number("missed")
        assert line.at >= d.spawned + point * 0.1, f"off the grid: {line.text}\n{d.transcript()}"
        assert line.at <= start.at + (point + 1) * 0.1 + grace(), f"off the grid: {line.text}\n{d.transcript()}"
    assert finish.number("missed") == point - 19 >= 3, d.transcript()
    assert_time(d, finish, d.spawned, start.at, point * 0.1)


def test_stalled_loop_burst(daemon):
    d, start, ticks, finish = stalled_loop(daemon, "burst")
    assert [line.number("tick") for line in ticks] == list(range(1, 21)), d.transcript()
    assert not any(line.number("missed") for line in [*ticks, finish])
    for k, line in enumerate(ticks):
        assert line.at >= d.spawned + k * 0.1, f"early: {line.text}\n{d.transcript()}"
    gaps = [b.at - a.at for a, b in zip(ticks[4:], ticks[5:])]
    assert sum(gap < 0.05 for gap in gaps[:5]) >= 2, f"not back to back: {gaps}\n{d.transcript()}"
    assert_time(d, finish, d.spawned, start.at, 1.9)


def test_stalled_countdown_says_what_is_left_now(daemon):
    d, start, ticks, finish = stalled_loop(daemon, "coalesce", kind="countdown", count=15)
    passed = 0
    for line in ticks:
        passed += 1 + line.number("missed")
        assert line.number("left") == 15 - passed + 1, d.transcript()
    assert len(ticks) + finish.number("missed") == 15
    assert_time(d, finish, d.spawned, start.at, 1.5)


def test_countdown_that_slept_through_its_end(daemon):
    d, _, ticks, finish = stalled_loop(daemon, "coalesce", kind="countdown", count=8, after=2, stall=1.2)
    (missed,) = d.lines("^missed job=beat")
    assert missed.number("left") == 0
    assert finish.number("missed") == 8 - len(ticks) == missed.number("missed") + sum(t.number("missed") for t in ticks)


# The end of the work


def test_background_job_does_not_hold_the_daemon(daemon):
    """heartbeat.conf at ten times its rate: every sixth beat is written, and the countdown decides the end."""
    text = (EXAMPLES / "heartbeat.conf").read_text(encoding="utf-8")
    for slow, fast in (("interval = 1s", "interval = 100ms"), ("interval = 5s", "interval = 500ms")):
        assert slow in text
        text = text.replace(slow, fast)
    d = daemon(text)
    assert_done(d)
    assert_from_config(d, "work", 4, 0.5)
    beats = [b.number("tick") for b in d.lines("^tick job=heartbeat")]
    assert set(beats) >= {1, 7, 13, 19} or d.lines("job=heartbeat.*missed=[1-9]"), d.transcript()
    assert all(tick % 6 == 1 for tick in beats) or d.lines("job=heartbeat.*missed=[1-9]"), d.transcript()
    stop = d.lines("^stop job=heartbeat")[0]
    assert stop.fields["why"] == "shutdown" and stop.number("tick") + stop.number("missed") >= 20


def test_daemon_without_a_job_waits_for_the_first(daemon):
    d = daemon("[daemon]\nexit-when-done = yes\n")
    assert d.status()["exitWhenDone"] is True
    (job,) = d.add({"kind": "loop", "interval": "1h", "background": True})
    d.call("Stop", {"match": [job["name"]]})
    assert d.status()["jobs"]["live"] == 0, "a background job that ended is not the end of the work"
    d.add({"kind": "countdown", "count": 2, "rate": "20", "name": "first"})
    assert_done(d)
    assert d.lines("^finish job=first")


@pytest.mark.parametrize("method", ["Stop", "Remove"])
def test_stopped_and_removed_jobs_have_ended(daemon, method):
    d = daemon("[daemon]\nexit-when-done = yes\n[job:a]\nkind = loop\n[job:b]\nkind = loop\n")
    d.call(method, {"match": ["a"]})
    d.call("Pause", {"match": ["b"]})
    assert d.status()["jobs"] == {"listed": 1 + (method == "Stop"), "live": 1, "foreground": 1, "paused": 1, "ever": 2}
    with d.connect() as client:
        client.send(method, {"match": ["b"]})
        assert len(client.receive()[0]["jobs"]) == 1, "the reply comes although the daemon ends"
    assert_done(d)


def test_countdown_of_zero_finishes_at_once(daemon):
    d = daemon("[daemon]\nexit-when-done = yes\n[job:none]\nkind = countdown\ncount = 0\n")
    assert_done(d)
    assert [line.word for line in d.lines(" job=none ")] == ["start", "finish"], d.transcript()


def test_without_exit_when_done_the_daemon_stays(daemon):
    d = daemon("[job:short]\nkind = countdown\ncount = 1\nrate = 50\n")
    d.wait_for("^finish job=short")
    assert d.list() == {} and d.list(all=True)["short"]["state"] == "finished"


def test_delayed_once(daemon):
    before = time.monotonic()
    d = daemon("[daemon]\nexit-when-done = yes\n[job:later]\nkind = once\ndelay = 600ms\nmessage = now\n")
    assert d.list()["later"]["state"] == "waiting"
    assert_done(d)
    start, finish = d.lines(" job=later ")
    assert_time(d, finish, before, start.at, 0.6)
    assert finish.fields["msg"] == "now"


# tea: steering a countdown


def test_tea_is_paused_resumed_and_reset(daemon):
    """tea.conf at five times its rate, steered as its comment says."""
    text = (EXAMPLES / "tea.conf").read_text(encoding="utf-8")
    assert "rate = 0.5" in text
    d = daemon(text.replace("rate = 0.5", "rate = 2.5"))
    d.wait_for("^tick job=tea .*left=4")
    d.ctl("pause", "tea")
    time.sleep(1)  # two intervals and a half in which nothing may happen
    job = d.list()["tea"]
    assert (job["state"], job["left"], job["ticks"], job["nextUsec"]) == ("paused", 4, 2, None)
    assert 0 < job["nextNsec"] <= 400 * 10**6, "what is left of the interval"
    assert d.lines(" job=tea ")[-1].word == "pause"
    resumed = time.monotonic()
    d.ctl("resume", "tea")
    tick = d.wait_for("^tick job=tea .*left=3")
    assert tick.at < resumed + 0.4 + grace(), "what was left of the interval is left of it after the pause"
    reset = time.monotonic()
    d.ctl("reset", "tea")
    d.wait_for("^finish job=tea")
    lines = [(line.word, line.number("left")) for line in d.lines(" job=tea ") if line.word != "start"]
    assert lines == [("tick", 5), ("tick", 4), ("pause", 4), ("resume", 4), ("tick", 3), ("reset", 5),
                     *(("tick", n) for n in (5, 4, 3, 2, 1)), ("finish", 0)], d.transcript()
    finish = d.lines("^finish")[0]
    assert finish.at >= reset + 2 and finish.fields["msg"] == "The tea is drawing"
    assert d.list(all=True)["tea"]["state"] == "finished"


# Options


def test_check_says_every_mistake_and_does_not_start(daemon):
    d = daemon("[daemon]\nbackend = pool\nexit-when-don = yes\n[job:x]\nkind = countdwn\nrate = 2s\n", args=["--check"],
               ready=False)
    assert d.wait_exit() == 78
    text = "\n".join(d.texts())
    for part in (":2: daemon: backend: ", ":3: daemon: exit-when-don: ", ":5: job:x: kind: ", ":6: job:x: rate: "):
        assert f"{d.config}{part}" in text, text
    assert all(remedy in text for remedy in ("exit-when-done", "countdown", "interval")), text
    assert not d.lines("^ready")


@pytest.mark.parametrize("args", [["--nonsense"], ["--log-target", "x"], ["--log-level", "x"], ["operand"]], ids=str)
def test_wrong_usage_is_64(daemon, args):
    d = daemon(args=args, ready=False)
    assert d.wait_exit() == 64, d.transcript()
    assert "--help" in d.texts()[-1]


def test_configuration_that_is_not_there_is_78(daemon, directory):
    d = daemon(config_path=directory / "nowhere.conf", ready=False)
    assert d.wait_exit() == 78, d.transcript()
    assert str(directory / "nowhere.conf") in d.texts()[0]


def test_help_and_version_go_to_stdout():
    for option, start in (("--help", "Usage: twistyd"), ("--version", "twistyd ")):
        result = subprocess.run([BUILD / "twistyd", option], capture_output=True, text=True, timeout=DEADLINE,
                                check=True)
        assert result.stdout.startswith(start) and result.stderr == ""


def test_rate_of_a_span_is_refused_with_the_remedy(daemon):
    d = daemon()
    with pytest.raises(VarlinkError) as error:
        d.add({"kind": "loop", "rate": "2s"})
    assert error.value.name == "InvalidJob"
    assert error.value.parameters["field"] == "rate" and "did you mean interval?" in error.value.parameters["reason"]
    result = d.ctl("add", "loop", "--rate", "2s", check=False)
    assert result.returncode != 0 and "did you mean --interval 2s?" in result.stderr, result
