"""Actions: commands of the configuration that are run for the events of jobs, and what comes of them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import EXAMPLES, grace, other_user, wait_until
from varlink import DEADLINE, VarlinkError

SANITIZED = "asan" in os.environ.get("TWISTY_BUILD", "")  # which keeps freed memory for a while
DONE = "[daemon]\nexit-when-done = yes\n"


def action(name, command, *more):
    return "\n".join([f"[action:{name}]", f"exec = {command}", *more, ""])


def shell(name, script, *more):
    """An action that runs a line of shell."""
    return action(name, '/bin/sh -c "{}"'.format(script.replace("$", "$$").replace("%", "%%")), *more)


def countdown(name, *more, count=1, interval="20ms"):
    return "\n".join([f"[job:{name}]", "kind = countdown", f"count = {count}", f"interval = {interval}", *more, ""])


def children(pid):
    """The processes whose parent this is."""
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def runs(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def member_of(d, as_user):
    """A connection of a member of the socket's group."""
    os.chmod(d.socket, 0o666)
    return as_user(d, other_user(), os.stat(d.socket).st_gid)


def refused(call):
    with pytest.raises(VarlinkError) as error:
        call()
    return error.value


# What is run, and with what


def test_every_event_has_its_action(daemon):
    """With its own event and numbers; and the daemon ends after the last action, not before."""
    d = daemon(DONE + shell("say", "sleep 0.2; echo $TWISTY_JOB.$TWISTY_ID.$TWISTY_EVENT.$TWISTY_LEFT.$TWISTY_COUNT",
                            "overlap = queue")
               + countdown("tea", "missed = burst", "on-tick = say", "on-finish = say", "on-stop = say", count=2)
               + countdown("egg", "on-finish = say", "on-stop = say", count=1, interval="1h"))
    d.wait_for("^finish job=tea")
    d.ctl("stop", "egg")
    assert d.wait_exit() == 0
    said = sorted(line.fields["stdout"] for line in d.lines("^output"))
    assert said == ["egg.2.stop.1.1", "tea.1.finish.0.2", "tea.1.tick.1.2", "tea.1.tick.2.2"], d.transcript()
    assert d.texts()[-1].startswith("exit why=done ")
    assert all(line.fields["action"] == "say" for line in d.lines("^output"))


def test_a_command_has_only_what_it_is_given(daemon):
    d = daemon(DONE + shell("look", "ls /proc/self/fd | tr '\\\\n' ' '; readlink /proc/self/fd/0; env | sort",
                            'environment = TZ "X=a b" NOT_THERE')
               + countdown("tea", "missed = burst", "on-finish = look"),
               env={"TZ": "UTC", "SECRET": "s", "TWISTY_JOB": "forged", "LD_X": "1", "LANG": "C.UTF-8"})
    assert d.wait_exit() == 0
    fds, *environment = [line.fields["stdout"] for line in d.lines("^output")]
    assert fds == "0 1 2 3 /dev/null"  # 3 is the directory that ls reads
    variables = dict(line.split("=", 1) for line in environment)
    variables.pop("PWD", None)  # the shell's own
    assert variables == {
        "PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", "TZ": "UTC", "X": "a b",
        "TWISTY_JOB": "tea", "TWISTY_ID": "1", "TWISTY_EVENT": "finish", "TWISTY_LEFT": "0", "TWISTY_COUNT": "1",
        "TWISTY_MISSED": "0",
    }


def test_output_is_told_escaped_and_with_its_priority(journal_daemon, journal):
    journal.start()
    d = journal_daemon(DONE + shell("say", r"printf 'a \\042b\\042\\n\\033[2J\\nfinish job=x\\n'; echo bad >&2")
                       + countdown("tea", "on-finish = say"))
    assert d.wait_exit() == 0
    records = [dict(r) for r in journal.records() if dict(r)["TWISTY_EVENT"] == b"output"]
    assert {(r["MESSAGE"].split(b" action=say ")[1], r["PRIORITY"]) for r in records} == {
        (rb'stdout="a \"b\""', b"6"), (rb'stdout="\x1b[2J"', b"6"), (b'stdout="finish job=x"', b"6"),
        (b'stderr="bad"', b"4"),
    }
    assert {(r["TWISTY_JOB"], r["TWISTY_ID"], r["TWISTY_ACTION"]) for r in records} == {(b"tea", b"1", b"say")}


# The reference's program with an exception, completed: what one job's action does is nothing to another job

# It leaves a child in its group, and goes over to the daemon's: a signal to its group does not reach it.
LEAVER = f'''#!{sys.executable}
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork() or time.sleep(60)
os.setpgid(0, os.getpgid(os.getppid()))
time.sleep(60)
'''
SCRIPTS = {"leave": LEAVER, "bare": "echo it has no line that says who is to run it\n"}

HOSTILE = {
    "fails": (shell("act", "echo it is broken >&2; exit 3"), 'status=3 .* stderr="it is broken"'),
    "is not there": (action("act", "/nowhere/at/all"), 'status=not-found .* error="/nowhere/at/all: No such file'),
    "is no program": (action("act", "/etc/passwd"), 'status=not-executable .* error="/etc/passwd: Permission denied"'),
    "kills itself": (shell("act", "kill -SEGV $$"), "status=SIGSEGV "),
    "never ends": (shell("act", "while :; do sleep 1; done", "timeout = 300ms"), "status=timeout runtime=[3-9]..ms"),
    "ignores TERM": (shell("act", "trap '' TERM; while :; do sleep 0.1; done", "timeout = 100ms"), "status=timeout "),
    "closes its descriptors": (shell("act", "exec 0<&- 1>&- 2>&-; exit 5"), "status=5 "),
    "is a directory": (action("act", "/etc"), 'status=not-executable .* error="/etc: Permission denied'),
    "stops itself": (shell("act", "trap 'echo bye; exit 8' TERM; kill -STOP $$; while :; do sleep 0.01; done",
                           "timeout = 100ms"), "status=timeout "),
    "leaves its group": (action("act", "@scripts@/leave", "timeout = 1s"), "status=timeout "),
    "has no interpreter": (action("act", "@scripts@/bare"), "status=not-executable .* error=.*/bare: Exec format error"),
    "forks a daemon": (shell("act", "(setsid /bin/sleep 3 &); exit 6"), "status=6 "),
    "writes no lines": (shell("act", "head -c 100000000 /dev/zero; exit 9", "timeout = 60s"), "status=9 "),
    "writes 100 MB": (shell("act", "yes abcdefghi | head -c 100000000; exit 7", "timeout = 60s"), "status=7 "),
}


@pytest.mark.parametrize("what", HOSTILE, ids=lambda what: what.replace(" ", "-"))
def test_an_action_that_goes_wrong_is_its_own_affair(daemon, directory, what):
    text, status = HOSTILE[what]
    for name, script in SCRIPTS.items():
        (directory / name).write_text(script, encoding="utf-8")
        (directory / name).chmod(0o755)
    d = daemon("[daemon]\nexit-when-done = yes\nstop-timeout = 100ms\n" + text.replace("@scripts@", str(directory))
               + countdown("bad", "on-tick = act", "on-failure = stop", count=1, interval="20s")
               + countdown("good", count=10, interval="50ms"))
    d.wait_for("^finish job=good")
    ticks = d.lines("^tick job=good")
    passed = len(ticks) + sum(line.number("missed") for line in d.lines("^(tick|missed) job=good"))
    assert passed == 10, d.transcript()
    for line in [*ticks, d.lines("^finish job=good")[0]]:
        due = ticks[0].at + (10 - line.number("left")) * 0.05
        assert -grace() <= line.at - due <= grace(), d.transcript()
    failed = d.wait_for("^action-failed job=bad id=1 action=act event=tick ", deadline=4 * DEADLINE)
    assert re.search(status, failed.text), failed.text
    ended = d.wait_for("^failed job=bad ")
    assert ended.fields["reason"].startswith("action act: "), ended.text
    assert d.wait_exit() == 0, d.transcript()
    assert len(d.lines("^action-failed")) == 1
    if what == "writes 100 MB":
        told = len(d.lines("^output .* stdout="))
        assert 100 <= told < 1000
        assert told + sum(line.number("untold") for line in d.lines("^output .* untold=")) == 10**7


def test_a_stopped_one_is_told_to_end_like_any_other(daemon):
    d = daemon(shell("act", "trap 'echo bye >&2; exit 8' TERM; kill -STOP $$; while :; do sleep 0.01; done",
                     "timeout = 100ms") + countdown("tea", "on-finish = act"))
    assert d.wait_for("^action-failed").fields["stderr"] == "bye", "it has had no time to clean up"


def test_ticks_do_not_wait_for_output(daemon):
    """Four that write empty lines as fast as they can, and some that leave such ones behind."""
    d = daemon(action("flood", '/usr/bin/yes ""') + shell("leave", "(setsid yes '' & setsid yes e >&2 &); exit 3")
               + "".join(countdown(f"f{i}", "on-tick = flood", interval="1h") for i in range(4))
               + "[job:left]\nkind = loop\ninterval = 100ms\non-tick = leave\nreport = none\n")
    d.add({"kind": "loop", "interval": "10ms", "report": "none", "count": 300, "name": "beat"})
    d.wait_for("^finish job=beat")
    late = d.status()["lateness"]["p50Nsec"] / 1e9
    assert late < grace() / 50 or SANITIZED, f"half of the ticks are more than {late} s late"


def test_memory_is_bounded_whatever_is_written(daemon):
    """Long lines, and many: the daemon keeps nothing of them."""
    d = daemon(shell("flood", "head -c 50000000 /dev/zero; yes | head -c 50000000", "timeout = 60s")
               + countdown("tea", "on-finish = flood"))
    d.wait_for("^output .* untold=", deadline=4 * DEADLINE)
    assert d.proc_status("VmHWM") < 60_000 or SANITIZED


# Failure


def test_a_failure_is_counted_and_the_job_goes_on(daemon):
    d = daemon(action("bad", "/bin/false") + "[job:beat]\nkind = loop\ninterval = 30ms\non-tick = bad\n")
    d.wait_for("^action-failed", count=3)
    d.ctl("pause", "beat")
    wait_until(lambda: d.status()["actions"]["running"] == 0)
    job = d.list()["beat"]
    assert job["state"] == "paused" and job["failures"] == len(d.lines("^action-failed")) >= 3
    counts = d.status()["actions"]
    assert counts["failed"] == counts["started"] == job["failures"]
    skipped = counts["skipped"]  # on a busy machine, where an action takes longer than an interval
    assert f"actions     {job['failures']} failed, {skipped} skipped" in d.ctl("show", "beat").stdout
    assert re.search(rf"^actions +0 running, 0 queued; \d+ started, \d+ failed, {skipped} skipped",
                     d.ctl("status").stdout, re.M)


def test_on_failure_runs_another_action_once(daemon):
    """That one fails as well, and nothing more follows."""
    d = daemon(DONE + shell("bad", "exit 1") + shell("mend", "echo $TWISTY_EVENT; exit 2")
               + countdown("tea", "on-finish = bad", "on-failure = mend"))
    assert d.wait_exit() == 0
    assert [line.fields["event"] for line in d.lines("^action-failed")] == ["finish", "failure"]
    assert [line.fields["stdout"] for line in d.lines("^output")] == ["failure"]
    assert not d.lines("^failed")


def test_a_failure_is_tried_again(daemon, directory):
    """One line at err, after the last try; those before it are warnings."""
    d = daemon("[daemon]\nexit-when-done = yes\nlog-level = debug\n"
               + action("bad", "/bin/false", "retry = 2", "backoff = 10ms") + countdown("tea", "on-finish = bad"))
    assert d.wait_exit() == 0
    lines = d.lines("^action-failed")
    assert [line.fields["attempt"] for line in lines] == ["1", "2", "3"]
    assert ["retry-in" in line.fields for line in lines] == [True, True, False]


def test_what_finds_no_place_is_counted_and_told(daemon):
    d = daemon("[daemon]\nmax-actions = 1\nmax-queued = 2\n" + shell("slow", "sleep 0.3"))
    d.add(*({"kind": "once", "onFinish": "slow", "name": f"o{i}"} for i in range(50)))
    d.wait_for("^action-failed .* status=queue-full")
    wait_until(lambda: sum(line.number("refused") or 1 for line in d.lines("status=queue-full")) == 47)
    jobs = d.list(all=True)
    assert sum(job["failures"] for job in jobs.values()) == 47
    assert d.status()["actions"]["failed"] == 47
    assert len(d.lines("status=queue-full")) <= 2, "they do not drown the log"


def test_overlap_skips_and_counts(daemon):
    d = daemon(shell("slow", "echo on; sleep 0.5") + "[job:beat]\nkind = loop\ninterval = 20ms\non-tick = slow\n"
               "report = none\n")
    d.wait_for("^output", count=2)
    d.ctl("stop", "beat")
    assert d.list(all=True)["beat"]["skipped"] >= 10
    assert d.status()["actions"]["skipped"] >= 10


def test_actions_run_side_by_side_but_not_too_many(daemon):
    d = daemon("[daemon]\nmax-actions = 4\n" + shell("slow", "sleep 0.4"))
    d.add(*({"kind": "once", "onFinish": "slow"} for _ in range(12)))
    most = 0
    while d.status()["actions"]["started"] < 12:
        most = max(most, d.status()["actions"]["running"], len(children(d.pid)))
    assert most == 4


def test_a_thousand_at_the_same_instant(daemon):
    """Two at a time, the others in line; none is lost or run twice, and nobody else notices."""
    d = daemon("[daemon]\nmax-actions = 2\nmax-queued = 700\n" + shell("say", "echo $TWISTY_JOB"))
    d.add({"kind": "loop", "interval": "20ms", "report": "none", "name": "beat"})
    d.add(*({"kind": "once", "delay": "300ms", "onFinish": "say", "name": f"j{i}"} for i in range(1000)))
    most = 0
    while (counts := d.status()["actions"])["started"] + counts["failed"] < 1000 or counts["running"] > 0:
        most = max(most, counts["running"])
        assert counts["queued"] <= 702
    assert most == 2
    assert counts["started"] in range(702, 710)  # some may have begun before the last finished
    assert counts["failed"] == 1000 - counts["started"]
    refused_runs = sum(line.number("refused") or 1 for line in d.lines("^action-failed .* status=queue-full"))
    assert refused_runs == counts["failed"]
    assert sum(job["failures"] for job in d.list(all=True).values()) == counts["failed"]
    said = [line.fields["stdout"] for line in d.lines("^output .* stdout=")]
    assert len(set(said)) == len(said)
    assert len(said) + sum(line.number("untold") for line in d.lines("^output .* untold=")) == counts["started"]
    beat = d.list()["beat"]
    assert beat["missed"] <= 2 * grace() / 0.02


def test_overlap_kill_of_one_that_does_not_want_to_end(daemon):
    d = daemon("[daemon]\nstop-timeout = 200ms\n"
               + shell("act", "trap '' TERM; echo $TWISTY_LEFT; [ $TWISTY_LEFT = 1 ] || while :; do sleep 0.01; done",
                       "overlap = kill") + countdown("tea", "on-tick = act", count=5, interval="100ms"))
    d.wait_for('stdout="5"')
    d.wait_for('^output .* stdout="1"')
    wait_until(lambda: d.status()["actions"]["running"] == 0)
    job = d.list(all=True)["tea"]
    counts = d.status()["actions"]
    assert (job["failures"], counts["failed"]) == (0, 0) and not d.lines("^action-failed")
    assert job["skipped"] == counts["skipped"] == 4, "each of the five but the last gave way"
    assert counts["started"] <= 4


# No room


def limit(d, what, number=None):
    """Set a limit of the daemon's, up to the hard one; as its own user, for root may not be allowed to."""
    owner = os.stat(f"/proc/{d.pid}")
    who = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}

    def prlimit(*args):
        return subprocess.run(["prlimit", "--pid", str(d.pid), *args], capture_output=True, text=True, check=True, **who)

    hard = prlimit(f"--{what}", "--noheadings", "--output=HARD").stdout.strip()
    prlimit(f"--{what}={hard if number is None else number}:")


def runs_again(d, since):
    wait_until(lambda: any(line.word == "output" for line in d.lines()[since:]))


def test_no_descriptors_for_an_action(daemon):
    """Wherever they end, in the middle of making pipes or later: it is told, nothing leaks, and then it goes on."""
    d = daemon(shell("say", "echo on") + "[job:beat]\nkind = loop\ninterval = 20ms\non-tick = say\nreport = none\n")
    d.ctl("pause", "beat")
    d.wait_quiet()
    before = fds(d)
    d.ctl("resume", "beat")
    for more in range(6):
        since = len(d.lines())
        limit(d, "nofile", before + more)
        wait_until(lambda: len(d.lines()) >= since + 3)
        assert more > 3 or all("Too many open files" in line.text and "status=not-started" in line.text
                               for line in d.lines("^action-failed")[-2:]), d.transcript()
        limit(d, "nofile")
        runs_again(d, len(d.lines()))
    d.ctl("pause", "beat")
    wait_until(lambda: d.status()["actions"]["running"] == 0 and children(d.pid) == [])
    d.wait_quiet()
    assert fds(d) == before
    beat = d.list()["beat"]
    assert beat["failures"] == d.status()["actions"]["failed"] == len(d.lines("^action-failed"))


@pytest.mark.parametrize("limits, backend, at_once", [
    ("100:", "auto", 40),  # the soft one is raised
    ("100:640", "auto", 10),  # which goes only so far
    ("100:200", "auto", 1),
    ("1024:", "select", 40),
])
def test_no_more_actions_than_descriptors(daemon, limits, backend, at_once):
    """They wait in line instead, and none fails."""
    d = daemon("[daemon]\nmax-actions = 40\n" + shell("slow", "sleep 0.7"), args=["--backend", backend],
               wrapper=["prlimit", f"--nofile={limits}"])
    told = d.lines("^limit ")
    assert [line.number("max-actions") for line in told] == ([] if at_once == 40 else [at_once])
    d.add(*({"kind": "once", "onFinish": "slow"} for _ in range(at_once + 2)))
    most = 0
    while (counts := d.status()["actions"])["running"] + counts["queued"] > 0:
        most = max(most, counts["running"])
    assert most == at_once and (counts["started"], counts["failed"]) == (at_once + 2, 0)


def test_select_has_no_large_descriptors(daemon):
    """As many actions as it can be asked for do not make it abort."""
    d = daemon("[daemon]\nmax-actions = 1000\n" + shell("slow", "sleep 1"), args=["--backend", "select"])
    (limited,) = d.lines("^limit ")
    fit = limited.number("max-actions")
    assert 100 < fit < 1024 / 3 and limited.number("files") == 1024
    d.add(*({"kind": "once", "onFinish": "slow"} for _ in range(2 * fit)))
    wait_until(lambda: d.status()["actions"]["running"] == fit)
    d.config.write_text("[daemon]\nmax-actions = 400\n", encoding="utf-8")
    d.ctl("reload")
    d.wait_for("^limit ", count=2)  # the reply may be here before the line
    assert [line.number("max-actions") for line in d.lines("^limit ")] == [fit, fit]
    while (counts := d.status()["actions"])["running"] + counts["queued"] > 0:
        pass
    assert (counts["started"], counts["failed"]) == (2 * fit, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")
def test_no_processes_for_an_action(daemon):
    """Neither the thread that starts them nor they themselves can begin; when they can, they do."""
    d = daemon(shell("say", "echo on") + "[job:beat]\nkind = loop\ninterval = 20ms\non-tick = say\nreport = none\n"
               "immediate = no\ndelay = 300ms\n", user=other_user())
    for _ in range(2):
        limit(d, "nproc", 1)
        since = len(d.lines())
        wait_until(lambda: any("status=not-started" in line.text and "Resource temporarily unavailable" in line.text
                               for line in d.lines()[since:]))
        limit(d, "nproc")
        runs_again(d, len(d.lines()))
    ticks = d.list()["beat"]["ticks"]
    wait_until(lambda: d.list()["beat"]["ticks"] > ticks + 2)


# Reload


def test_reload_of_actions(daemon, directory):
    config = shell("say", "echo old; sleep 0.3; echo still old") + countdown("tea", "on-tick = say", count=3, interval="1h")
    d = daemon(config)
    d.wait_for('stdout="old"')
    d.config.write_text(config.replace("echo old", "echo new"), encoding="utf-8")
    assert d.ctl("reload").stdout == "unchanged 1\n"
    d.wait_for('stdout="still old"')
    wait_until(lambda: d.status()["actions"]["running"] == 0)  # or the next would be skipped
    d.ctl("reset", "tea")
    d.wait_for('stdout="new"')
    d.add({"kind": "loop", "interval": "50ms", "onTick": "say", "name": "mine"})
    d.config.write_text("", encoding="utf-8")
    d.ctl("reload")
    failed = d.wait_for("^action-failed job=mine .* status=not-found")
    assert "the configuration has this action no more" in failed.text


def test_reload_that_removes_what_runs_and_what_waits(daemon):
    """What was accepted is done as it was accepted; what comes later finds nothing."""
    d = daemon("[daemon]\nmax-actions = 1\n" + shell("say", "echo $TWISTY_JOB; sleep 0.3; exit 3", "retry = 1",
                                                     "backoff = 10ms"))
    d.add(*({"kind": "loop", "interval": "1h", "onTick": "say", "name": name} for name in "abc"))
    d.wait_for('stdout="a"')
    d.config.write_text("", encoding="utf-8")
    d.ctl("reload")
    assert actions(d) == {}
    for name in "abc":
        failed = d.wait_for(f"^action-failed job={name} .* status=3 .* attempt=2")
        assert "retry-in" not in failed.fields
    assert d.status()["actions"] == {"running": 0, "queued": 0, "started": 6, "failed": 6, "skipped": 0}
    d.ctl("reset", "a")
    d.wait_for("^action-failed job=a .* status=not-found")
    assert d.list()["a"]["failures"] == 2


def test_reload_that_removes_a_job_whose_action_runs(daemon):
    config = shell("say", "echo on; sleep 0.2; exit 3", "retry = 1", "backoff = 10ms")
    d = daemon(DONE + config + countdown("a", "on-tick = say", "on-failure = stop", interval="1h")
               + countdown("b", interval="500ms"))
    d.wait_for('stdout="on"')
    d.config.write_text(DONE + config + countdown("b", interval="500ms"), encoding="utf-8")
    d.ctl("reload")
    assert d.wait_exit() == 0, "and it waits for the action, and its next try"
    assert len(d.lines("^action-failed job=a ")) == 2 and not d.lines("^failed")


def test_reload_with_a_mistake_changes_nothing(daemon):
    config = action("say", "/bin/echo hello") + countdown("tea", "on-finish = say", interval="1h")
    d = daemon(config)
    d.config.write_text(config.replace("on-finish = say", "on-finish = sya"), encoding="utf-8")
    result = d.ctl("reload", check=False)
    assert result.returncode == 1 and "there is no action 'sya'; did you mean 'say'?" in result.stderr
    assert d.list()["tea"]["onFinish"] == "say"


# Over the socket


def test_a_job_names_an_action_and_never_defines_one(daemon):
    d = daemon(action("say", "/bin/echo hello"))
    error = refused(lambda: d.add({"kind": "once", "onFinish": "/bin/sh"}))
    assert error.name == "InvalidJob" and error.parameters["field"] == "onFinish"
    error = refused(lambda: d.add({"kind": "once", "onFinish": "sya"}))
    assert error.parameters["reason"] == "there is no action 'sya'; did you mean 'say'?"
    for member in ("exec", "action", "command"):
        assert refused(lambda m=member: d.add({"kind": "once", m: "/bin/true"})).name == "InvalidJob"
    result = d.ctl("add", "once", "--on-finish", "sya", check=False)
    assert result.returncode == 1 and "on-finish" in result.stderr and "did you mean 'say'?" in result.stderr
    d.ctl("add", "once", "--on-finish", "say", "--name", "x")
    d.wait_for('^output job=x .* stdout="hello"')
    assert d.list(all=True)["x"]["onFinish"] == "say"


def test_who_may_name_an_action(daemon, as_user):
    """A member of the group names what `allow = group` lets; the defaults hold for everybody."""
    d = daemon("[defaults]\non-stop = mine\n" + action("mine", "/bin/echo stopped")
               + action("ours", "/bin/true", "allow = group"))
    with member_of(d, as_user) as member:
        member.call("Add", {"jobs": [{"kind": "loop", "onFinish": "ours", "name": "a"}]})
        for key in ("onTick", "onFinish", "onStop", "onFailure"):
            error = refused(lambda k=key: member.call("Add", {"jobs": [{"kind": "loop", k: "mine"}]}))
            assert error.name == "NotPermitted" and "allow = group" in error.parameters["reason"]
        member.call("Stop", {"match": ["a"]})
    d.wait_for('^output job=a .* stdout="stopped"')


# What there is, and what became of it


def actions(client_or_daemon):
    return {a["name"]: a for a in client_or_daemon.call("Actions")["actions"]}


def test_who_sees_what_of_actions(daemon, as_user):
    """Everybody who may connect sees which there are; the command line is for those who may do everything."""
    d = daemon(action("mine", "/bin/echo secret", "timeout = 1min 30s", "overlap = kill", "retry = 2", "backoff = 3s",
                      "environment = TOKEN=secret") + action("ours", "/bin/true", "allow = group"))
    none = {"running": 0, "queued": 0, "started": 0, "failed": 0, "skipped": 0}
    mine = {"name": "mine", "allow": "root", "permitted": True, "timeout": "1min 30s", "overlap": "kill", "retry": 2,
            "backoff": "3s", "exec": ["/bin/echo", "secret"], "runs": none}
    ours = {"name": "ours", "allow": "group", "permitted": True, "timeout": "30s", "overlap": "skip", "retry": 0,
            "backoff": "1s", "exec": ["/bin/true"], "runs": none}
    assert d.call("Actions")["actions"] == [mine, ours]
    with member_of(d, as_user) as member:
        reply = member.call("Actions")["actions"]
        assert reply == [{**mine, "permitted": False, "exec": None}, {**ours, "exec": None}]
        assert "secret" not in str(reply)
    with as_user(d, other_user()) as stranger:
        assert refused(lambda: stranger.call("Actions")).name == "NotPermitted"


def test_runs_are_counted_for_each_action_over_reloads(daemon):
    config = (shell("good", "echo on; sleep 0.2") + action("bad", "/bin/false", "retry = 1", "backoff = 1ms")
              + action("idle", "/bin/true") + shell("long", "echo up; exec sleep 100"))
    d = daemon(config)
    d.add({"kind": "loop", "interval": "1h", "onTick": "good"}, {"kind": "loop", "interval": "1h", "onTick": "bad"},
          {"kind": "loop", "interval": "1h", "onTick": "long", "name": "l"})
    d.add({"kind": "loop", "interval": "20ms", "count": 5, "onTick": "good", "name": "fast",
           "missed": "burst"})
    d.wait_for("^finish job=fast")
    wait_until(lambda: d.status()["actions"]["running"] == 1 and d.status()["actions"]["queued"] == 0)
    before = d.status()["actions"]
    d.config.write_text(config.replace("echo on", "echo new").replace("[action:idle]", "[action:other]"))
    d.ctl("reload")
    counts = {name: a["runs"] for name, a in actions(d).items()}
    assert list(counts) == ["bad", "good", "long", "other"], "in the order of their names"
    assert counts["bad"] == {"running": 0, "queued": 0, "started": 2, "failed": 2, "skipped": 0}
    assert counts["long"] == {"running": 1, "queued": 0, "started": 1, "failed": 0, "skipped": 0}
    assert counts["good"]["started"] + counts["good"]["skipped"] == 6 and counts["good"]["skipped"] > 0
    assert {key: sum(c[key] for c in counts.values()) for key in before} == before
    d.ctl("reset", "l")  # the old one still runs, with the counts of the new one
    assert actions(d)["long"]["runs"]["skipped"] == 1
    assert re.search(r"^bad +root +30s +skip +1 +0 +0 +2 +2 +0$", d.ctl("actions").stdout, re.MULTILINE)


def test_any_number_of_actions(daemon):
    """In slices, while they change; whoever takes no slices is told."""
    text = "".join(action(f"a{i:05}", "/bin/true") for i in range(5000))
    d = daemon(text)
    assert refused(lambda: d.call("Actions")).name == "LimitReached"
    names = []
    with d.connect() as client:
        for reply in client.stream("Actions"):
            if not names:
                d.config.write_text(action("a00000", "/bin/true") + action("zz", "/bin/true"), encoding="utf-8")
                d.ctl("reload")
            names += [a["name"] for a in reply["actions"]]
    assert names[:100] == [f"a{i:05}" for i in range(100)] and names[-1] == "zz" and len(names) < 5000
    assert list(actions(d)) == ["a00000", "zz"]


def test_whoever_watches_sees_failures(daemon):
    d = daemon("[daemon]\nmax-actions = 1\nmax-queued = 1\n"
               + shell("bad", "sleep 0.1; echo why >&2; exit 3", "retry = 1", "backoff = 5ms"))
    with d.connect() as client, d.connect() as other:
        events = (reply["event"] for reply in client.stream("Watch"))
        others = (reply["event"] for reply in other.stream("Watch", {"match": ["x*"]}))
        assert next(events)["event"] == next(others)["event"] == "ready"
        (job,) = d.add({"kind": "loop", "interval": "1h", "onTick": "bad", "name": "tea"})
        failures = [next(e for e in events if e["event"] == "actionFailed") for _ in range(2)]
        common = {"event": "actionFailed", "name": "tea", "id": job["id"], "action": "bad", "occasion": "tick",
                  "status": "3", "lastLine": "why"}
        for attempt, failure in enumerate(failures, 1):
            assert failure.items() >= {**common, "attempt": attempt}.items()
            assert failure["runtimeNsec"] >= 50_000_000 and failure["timeUsec"] > 0
        assert failures[0]["retryInNsec"] > 0 and "retryInNsec" not in failures[1]
        d.add(*({"kind": "once", "onFinish": "bad", "name": f"x{i}"} for i in range(9)))
        refused_runs = 0
        while refused_runs < 7:
            event = next(e for e in others if e["event"] == "actionFailed" and e["status"] == "queue-full")
            assert "attempt" not in event and event["name"].startswith("x")
            refused_runs += event["refused"]
        assert refused_runs == 7


# Dead man's switch


def test_dead_mans_switch(daemon):
    """The worked example, with its 26 hours scaled down: it fires when nobody says that the backup is done."""
    text = (EXAMPLES / "backup.conf").read_text(encoding="utf-8")
    assert "interval = 26h" in text
    text = text.replace("interval = 26h", "interval = 1500ms")
    text = re.sub(r"^exec = .*$", 'exec = /bin/echo "no backup"', text, flags=re.MULTILINE)
    d = daemon(text)
    for _ in range(8):
        time.sleep(0.25)
        d.ctl("reset", "backup")
    assert not d.lines("^finish|^output"), d.transcript()
    last = time.monotonic()
    alarm = d.wait_for('^output job=backup .* stdout="no backup"')
    assert alarm.at - last >= 1.5 - 0.5
    assert d.wait_for("^finish job=backup").at <= alarm.at
    d.ctl("reset", "backup")  # the next backup is done: it is armed again
    d.wait_for('^output job=backup .* stdout="no backup"', count=2)


def test_reset_or_add(daemon):
    d = daemon(action("page", "/bin/echo paging"))
    options = ["--interval", "1h", "--name", "backup", "--on-finish", "page", "--reset-or-add"]
    d.ctl("add", "countdown", 3, *options)
    (first,) = d.list().values()
    d.ctl("add", "countdown", 3, *options)
    (second,) = d.list().values()
    assert second["id"] == first["id"] and second["startUsec"] > first["startUsec"]
    assert len(d.lines("^reset job=backup")) == 1
    d.ctl("stop", "backup")
    d.ctl("add", "countdown", 3, *options)  # an ended one is armed again
    assert [(j["id"], j["state"]) for j in d.list().values()] == [(first["id"], "running")]
    d.ctl("add", "countdown", 4, *options)  # something else is asked for
    (job,) = d.list().values()
    assert job["id"] != first["id"] and job["count"] == 4
    assert d.wait_for("^stop job=backup .* why=replaced")
    error = refused(lambda: d.add({"kind": "once", "name": "x"}, reset=True, replace=True))
    assert error.error == "org.varlink.service.InvalidParameter"


def test_reset_or_add_is_no_way_to_anothers_job(daemon, as_user):
    d = daemon()
    d.add({"kind": "loop", "name": "roots"})
    with member_of(d, as_user) as member:
        error = refused(lambda: member.call("Add", {"jobs": [{"kind": "loop", "name": "roots"}], "reset": True}))
    assert error.name == "NotPermitted" and not d.lines("^(reset|stop)")


# Chains


def test_a_chain_of_countdowns(daemon):
    d = daemon(DONE + countdown("c", "after = b", count=2, interval="100ms")
               + countdown("b", "after = a", count=2, interval="100ms", )
               + countdown("a", count=2, interval="100ms"))
    assert d.list(all=True)["b"]["state"] == "waiting"
    assert re.search(r"^c +countdown +waiting .* after b$", d.ctl("list").stdout, re.MULTILINE), d.ctl("list").stdout
    assert re.search(r"^after +b$", d.ctl("show", "c").stdout, re.MULTILINE)
    assert d.wait_exit() == 0
    told = [(line.word, line.fields["job"]) for line in d.lines("^(tick|finish)")]
    assert told == [pair for n in "abc" for pair in (("tick", n), ("tick", n), ("finish", n))], d.transcript()
    assert d.lines("^start job=c")[0].fields["after"] == "b"
    elapsed = d.lines("^finish job=c")[0].fields["elapsed"]
    assert not elapsed.endswith("ms") or int(elapsed[:-2]) >= 600


@pytest.mark.parametrize("how, state", [("stop", "stopped"), ("rm", None)])
def test_a_chain_that_breaks(daemon, how, state):
    d = daemon(DONE + countdown("a", interval="1h") + countdown("b", "after = a") + countdown("c", "after = b"))
    d.ctl(how, "a")
    assert d.wait_exit() == 0
    reasons = {line.fields["job"]: line.fields["reason"] for line in d.lines("^failed")}
    assert reasons == {
        "b": "the job a, which it waits for, " + (f"has {state}" if state else "is not there"),
        "c": "the job b, which it waits for, has failed",
    }


def test_a_job_that_waits_can_be_steered(daemon):
    d = daemon(countdown("a", interval="1h") + countdown("b", "after = a", interval="1h"))
    d.ctl("pause", "b")
    assert d.list()["b"]["state"] == "paused"
    d.ctl("resume", "b")
    assert d.list()["b"]["state"] == "waiting"
    d.ctl("stop", "b")
    d.ctl("reset", "b")
    assert d.list()["b"]["state"] == "waiting"
    d.ctl("pause", "b")
    d.add({"kind": "countdown", "count": 1, "interval": "10ms", "name": "a", "onFinish": ""}, replace=True)
    d.wait_for("^finish job=a")
    assert d.list()["b"]["state"] == "paused"
    d.ctl("resume", "b")
    d.wait_for("^tick job=b")
    d.add({"kind": "once", "name": "late", "after": "a"})  # which has finished
    d.wait_for("^finish job=late")


def test_circles_are_refused_with_their_path(daemon):
    d = daemon(countdown("a", interval="1h"))
    error = refused(lambda: d.add({"kind": "once", "name": "x", "after": "y"}, {"kind": "once", "name": "y", "after": "x"}))
    assert error.parameters == {"index": 0, "field": "after", "reason": "these jobs would wait for each other: x -> y -> x"}
    d.add({"kind": "once", "name": "b", "after": "a"})
    error = refused(lambda: d.add({"kind": "once", "name": "a", "after": "b"}, replace=True))
    assert error.parameters["reason"] == "these jobs would wait for each other: a -> b -> a"
    error = refused(lambda: d.add({"kind": "once", "after": "aa"}))
    assert error.parameters["reason"] == "there is no job 'aa'" or "did you mean 'a'" in error.parameters["reason"]
    assert set(d.list()) == {"a", "b"}
    d.config.write_text(countdown("a", "after = c") + countdown("c", "after = a"), encoding="utf-8")
    result = d.ctl("reload", check=False)
    assert result.returncode == 1 and "job:a: after: these jobs wait for each other: a -> c -> a" in result.stderr
    result = d.ctl("add", "once", "--name", "s", "--after", "s", check=False)
    assert result.returncode == 1 and "s -> s" in result.stderr


def test_a_changed_job_keeps_those_who_wait_for_it(daemon):
    config = countdown("a", interval="1h") + countdown("b", "after = a")
    d = daemon(config)
    d.config.write_text(config.replace("1h", "300ms"), encoding="utf-8")
    d.ctl("reload")
    d.wait_for("^finish job=b")
    assert not d.lines("^failed")


# The end


def test_the_end_of_the_daemon_ends_its_actions(daemon):
    """TERM, and KILL when that is not enough; nothing is left behind."""
    d = daemon("[daemon]\nstop-timeout = 300ms\nmax-actions = 2\n"
               + shell("gentle", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done 2>/dev/null")
               + shell("stubborn", "trap '' TERM; echo up; while :; do sleep 0.01; done")
               + countdown("a", "on-tick = gentle", interval="1h") + countdown("b", "on-tick = stubborn", interval="1h")
               + countdown("c", "on-tick = gentle", interval="1h"))
    d.wait_for('stdout="up"', count=2)
    pids = children(d.pid)
    assert len(pids) == 2
    began = time.monotonic()
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    assert time.monotonic() - began >= 0.3
    assert d.lines('^output job=a .* stdout="bye"')
    assert {line.fields["job"]: line.fields["status"] for line in d.lines("^action-failed")} == {
        "b": "shutdown", "c": "shutdown",
    }
    assert d.texts()[-1].startswith("exit why=SIGTERM ")
    assert not any(runs(pid) for pid in pids)


def test_the_end_does_not_wait_for_a_next_try(daemon):
    d = daemon(action("bad", "/bin/false", "retry = 3", "backoff = 1h") + countdown("tea", "on-tick = bad", interval="1h"))
    d.wait_for("^action-failed .* retry-in=")
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    assert [line.fields["status"] for line in d.lines("^action-failed")] == ["1", "shutdown"]


def test_exit_when_done_waits_for_the_next_try(daemon):
    d = daemon(DONE + action("bad", "/bin/false", "retry = 2", "backoff = 100ms") + countdown("tea", "on-finish = bad"))
    assert d.wait_exit() == 0
    assert len(d.lines("^action-failed")) == 3 and "why=done" in d.texts()[-1]


def test_whoever_says_it_twice_does_not_wait(daemon):
    d = daemon(shell("stubborn", "trap '' TERM; echo up; while :; do sleep 0.01; done")
               + countdown("b", "on-tick = stubborn", interval="1h"))
    d.wait_for('stdout="up"')
    began = time.monotonic()
    d.signal(signal.SIGTERM)
    while d.process.poll() is None:
        assert time.monotonic() < began + 8, "the stop-timeout is ten seconds"
        d.signal(signal.SIGTERM)
        time.sleep(0.02)
    assert d.wait_exit() == 0


def test_a_background_jobs_action_holds_nobody(daemon):
    d = daemon(DONE + shell("long", "echo on; exec sleep 100")
               + countdown("beat", "background = yes", "on-tick = long", interval="1h")
               + countdown("tea", interval="300ms"))
    d.wait_for('stdout="on"')
    assert d.wait_exit() == 0
    assert "why=done" in d.texts()[-1]


# Many


SOAK = "TWISTY_SOAK" in os.environ  # make soak
RATE, SECONDS = (1000, 100) if SOAK else (500, 4)


def tick(d, seconds, **more):
    """A hundred loops for so long, RATE ticks a second in all; how many ticks that are."""
    count = RATE * seconds // 100
    d.add(*({"kind": "loop", "count": count, "interval": f"{100_000 / RATE}ms", "delay": f"{i * 1000 // RATE}ms",
             "report": "none", "name": f"j{i}", **more} for i in range(100)))
    return 100 * count


def fds(d):
    return len(os.listdir(f"/proc/{d.pid}/fd"))


def test_many_actions_leave_nothing_behind(daemon):
    """A hundred thousand, a thousand a second, in `make soak`; no zombie, no descriptor and no memory stays."""
    d = daemon("[daemon]\nmax-queued = 100000\n" + action("nothing", "/bin/true", "overlap = queue"))

    def run(seconds):
        """Each tick has its action, and each that was to come is a tick or missed, on a machine too busy for it."""
        before = d.status()
        total = tick(d, seconds, onTick="nothing")
        most = 0
        deadline = time.monotonic() + 10 * seconds + DEADLINE
        while (now := d.status())["jobs"]["live"] > 0 or now["actions"]["running"] + now["actions"]["queued"] > 0:
            assert time.monotonic() < deadline, now
            most = max(most, len(children(d.pid)))
            time.sleep(0.05)
        ticks = now["ticks"] - before["ticks"]
        assert ticks + now["missed"] - before["missed"] == total
        assert now["actions"]["started"] - before["actions"]["started"] == ticks >= total / 2
        assert (now["actions"]["failed"], now["actions"]["skipped"]) == (0, 0)
        assert most <= 40, "no more than run at a time, and no zombie"  # they come and go while they are counted
        wait_until(lambda: d.status()["connections"] == 1)
        d.ctl("rm", "--ended")

    run(1)
    before = fds(d), d.proc_status("VmRSS")
    run(SECONDS)
    assert children(d.pid) == []
    wait_until(lambda: fds(d) <= before[0])  # the last call's connection may still be there
    assert d.proc_status("VmRSS") <= before[1] + 2048 or SANITIZED
    assert actions(d)["nothing"]["runs"] == d.status()["actions"]


if SOAK:  # it takes a machine for itself
    def test_ticks_do_not_wait_for_actions(daemon):
        late = {}
        for name, more in (("without", {}), ("with", {"onTick": "nothing"})):
            d = daemon("[daemon]\nmax-queued = 100000\n" + action("nothing", "/bin/true", "overlap = queue"))
            total = tick(d, 20, **more)
            wait_until(lambda d=d, total=total: d.status()["ticks"] + d.status()["missed"] >= total, 60)
            late[name] = d.status()["lateness"]["p99Nsec"]
        print(f"p99 of the lateness: {late['without'] / 1000} us without actions, {late['with'] / 1000} us with them")
        assert late["with"] <= 2 * late["without"]


# A restart


def test_jobs_that_name_actions_and_others_outlive_a_restart(daemon, directory):
    config = f"[daemon]\nstate = {directory}/state.db\n" + action("say", "/bin/echo here")
    d = daemon(config, directory=directory / "d")
    d.add({"kind": "countdown", "count": 1, "interval": "1h", "name": "a"})
    d.add({"kind": "once", "name": "b", "after": "a", "onFinish": "say", "onFailure": "stop"})
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    d = daemon(config, directory=directory / "d")
    job = d.list()["b"]
    assert (job["state"], job["after"], job["onFinish"], job["onFailure"]) == ("waiting", "a", "say", "stop")
    d.ctl("stop", "b")
    d.ctl("reset", "b")
    d.add({"kind": "once", "name": "a"}, replace=True)
    d.wait_for('^output job=b .* stdout="here"')
