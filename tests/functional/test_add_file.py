"""twistyctl add --file: jobs from a file in calls of many, and what becomes of mistakes and refusals."""

import os
import pty
import resource
import subprocess

import pytest

from harness import BUILD, wait_until
from varlink import DEADLINE

THREE = """
; jobs of mine
[defaults]
interval = 1h
report = every 2
immediate = no

[job:tea]
kind = countdown
count = 5
message = say "hi" = \\ ü
[job:beat]
kind = loop
rate = 1/26h
background = yes
[job:later]
kind = once
delay = 2h
"""


def many(n, first=0):
    return "".join(f"[job:many-{i}]\nkind = countdown\ncount = 5\ninterval = 1h\n" for i in range(first, first + n))


@pytest.fixture
def add(directory):
    """add(daemon, text, options...): a CompletedProcess, and FILE in its stderr for the file's name."""
    path = directory / "jobs.conf"

    def run(d, text, *options, check=True):
        path.write_text(text, encoding="utf-8")
        result = d.ctl("add", "--file", path, *options, check=check)
        result.stderr = result.stderr.replace(str(path), "FILE")
        return result

    return run


def test_the_jobs_are_as_the_file_says(daemon, add):
    d = daemon("[defaults]\nmissed = burst\nreport = none\n")
    assert add(d, THREE).stdout == "added 3 jobs\n"
    jobs = d.list()
    assert list(jobs) == ["tea", "beat", "later"], "in the order of the file"
    tea, beat, later = jobs.values()
    assert (tea["count"], tea["interval"], tea["report"], tea["message"]) == (5, "1h", "every 2", 'say "hi" = \\ ü')
    assert (beat["rate"], beat["background"], beat["immediate"]) == ("1/26h", True, False)
    assert (later["state"], later["delay"], later["rate"]) == ("waiting", "2h", None)
    assert {job["missedPolicy"] for job in jobs.values()} == {"burst"}, "what the file leaves out, the daemon has"
    assert {job["source"] for job in jobs.values()} == {"control"}


@pytest.mark.parametrize("options, expected", [([], "added 1 job\n"), (["-q"], ""), (["--json"], '{"added":1}\n')])
def test_what_is_printed(daemon, add, options, expected):
    result = add(daemon(), "[job:x]\nkind = once\ndelay = 1h\n", *options)
    assert (result.stdout, result.stderr) == (expected, "")


def test_standard_input(daemon):
    d = daemon()
    command = [BUILD / "twistyctl", "--socket", d.socket, "add", "--file", "-"]
    done = subprocess.run(command, input=THREE, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "added 3 jobs\n", "")
    done = subprocess.run(command, input="[job:x]\n", capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 2 and done.stderr.startswith("stdin:1: job:x: kind: missing"), done.stderr


def test_more_than_a_call_takes(daemon, add):
    d = daemon("[daemon]\nlog-level = warning\n", ready=False)
    d.wait_socket()
    assert add(d, many(2600)).stdout == "added 2600 jobs\n"
    assert d.list().keys() == {f"many-{i}" for i in range(2600)}


def test_long_messages_stay_within_the_bound_of_a_call(daemon, add):
    d = daemon("[daemon]\nlog-level = warning\n", ready=False)
    d.wait_socket()
    text = "".join(f'[job:j{i}]\nkind = once\ndelay = 1h\nmessage = {chr(34) * 180}\n' for i in range(1500))
    assert add(d, text).stdout == "added 1500 jobs\n"
    assert d.list("j1499")["j1499"]["message"] == '"' * 180


def test_every_mistake_is_told_and_nothing_is_sent(daemon, add):
    d = daemon()
    result = add(d, "[daemon]\nlog-level = info\n[action:x]\n[job:a]\nkind = countdwn\n[job:b]\nkind = once\ncount = 3\n"
                 "[job:c]\nkind = loop\nrate = 1\ninterval = 1s\n[job:b]\nkind = once\n", check=False)
    assert (result.returncode, result.stdout) == (2, "")
    *mistakes, last = result.stderr.splitlines()
    assert [m.split(": ")[:2] for m in mistakes] == [
        ["FILE:1", "daemon"], ["FILE:3", "action:x"], ["FILE:5", "job:a"], ["FILE:8", "job:b"], ["FILE:12", "job:c"],
        ["FILE:13", "job:b"],
    ]
    assert "[defaults] and [job:NAME]" in mistakes[0] and "'countdown'" in mistakes[2]
    assert last == "twistyctl: FILE has mistakes; nothing is added"
    assert d.status()["jobs"]["ever"] == 0


@pytest.mark.parametrize("path, why", [("/nonexistent", "cannot be read: No such file"), ("/", "Is a directory")])
def test_what_cannot_be_read(daemon, path, why):
    result = daemon().ctl("add", "--file", path, check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and why in result.stderr, result.stderr


def test_names_that_are_taken(daemon, add):
    d = daemon()
    d.add({"kind": "loop", "interval": "2h", "name": "beat"})
    result = add(d, THREE, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == ("twistyctl: FILE:12: job:beat: is there already; use --replace or --if-absent; "
                             "0 of 3 jobs were added\n")
    assert d.list().keys() == {"beat"}
    assert add(d, THREE, "--if-absent").stdout == "added 2 jobs; 1 was there already\n"
    assert d.list()["beat"]["interval"] == "2h"
    assert add(d, THREE, "--replace").stdout == "added 3 jobs\n"
    assert d.list()["beat"]["interval"] == "1d 2h"


def test_what_the_daemon_misses_is_told_with_its_line(daemon, add):
    """Its defaults might have said it."""
    d = daemon()
    result = add(d, "[job:x]\nkind = once\n\n[job:y]\nkind = countdown\n", check=False)
    assert result.returncode == 1
    assert result.stderr == ("twistyctl: FILE:4: job:y: count: missing; a countdown needs the number of its ticks; "
                             "0 of 2 jobs were added\n")
    assert add(daemon("[defaults]\ncount = 3\n"), "[job:y]\nkind = countdown\n").stdout == "added 1 job\n"


def test_a_refused_call_ends_it(daemon, add):
    """What came before stays, and is counted."""
    d = daemon("[daemon]\nmax-jobs = 2000\nlog-level = warning\n", ready=False)
    d.wait_socket()
    result = add(d, many(100000), check=False)
    assert result.returncode == 1
    assert result.stderr == "twistyctl: FILE:8001: job:many-2000: max-jobs: at most 2000; 2000 of 100000 jobs were added\n"
    assert d.status()["jobs"]["live"] == 2000


@pytest.mark.parametrize("arguments", [["countdown"], ["--rate", "1"], ["--name", "x"], ["--if-absent", "--replace"]])
def test_wrong_use(arguments):
    done = subprocess.run([BUILD / "twistyctl", "add", "--file", "x", *arguments], capture_output=True, text=True,
                          timeout=DEADLINE, check=False)
    assert done.returncode == 2 and "exclude each other" in done.stderr


def test_progress_is_told_on_a_terminal_only(daemon, directory):
    """A daemon that is stopped makes it last longer than a second."""
    d = daemon("[daemon]\nlog-level = warning\n", ready=False)
    d.wait_socket()
    path = directory / "jobs.conf"
    path.write_text(many(20000))
    ours, theirs = pty.openpty()
    command = [BUILD / "twistyctl", "--socket", d.socket, "add", "--file", path]
    with d.stalled(1.2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
    assert process.wait(DEADLINE) == 0
    said = b""
    try:
        while data := os.read(ours, 4096):
            said += data
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert said.startswith(b"\radding jobs: ") and b" of 20000" in said and said.endswith(b"\r\x1b[K"), said


def cpu_of(*command):
    """Processor time of a program's run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=DEADLINE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("ctl", [False, True], ids=["twistyd", "twistyctl"])
def test_time_is_linear(daemon, directory, ctl):
    """Ten times the jobs take about ten times as long; were it the square, it would be a hundred times."""
    d = daemon("[daemon]\nlog-level = warning\n", ready=False)
    d.wait_socket()
    took = {}
    for n in (5000, 50000):
        path = directory / f"{n}.conf"
        path.write_text(many(n, first=n))
        if ctl:
            took[n] = cpu_of(BUILD / "twistyctl", "--socket", d.socket, "add", "--file", path)
        else:
            took[n] = cpu_of(BUILD / "twistyd", "--check", "-c", path)
    if ctl:
        assert d.status()["jobs"]["live"] == 55000
    assert took[50000] < 40 * max(took[5000], 0.005), took


def test_add_tells_how_many_are_new(daemon):
    d = daemon()
    spec = {"kind": "loop", "interval": "1h", "name": "x"}
    assert d.call("Add", {"jobs": [spec], "brief": True}) == {"jobs": [], "added": 1}
    result = d.call("Add", {"jobs": [spec, {"kind": "once", "delay": "1h"}], "ifAbsent": True})
    assert (len(result["jobs"]), result["added"]) == (2, 1)
    assert d.call("Add", {"jobs": []}) == {"jobs": [], "added": 0}


def test_a_daemon_that_goes_meanwhile(daemon, directory):
    d = daemon("[daemon]\nlog-level = warning\n", ready=False)
    d.wait_socket()
    path = directory / "jobs.conf"
    path.write_text(many(100000))
    command = [BUILD / "twistyctl", "--socket", d.socket, "--json", "add", "--file", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: d.status()["jobs"]["ever"] > 0)
        d.kill()
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1 and out == ""
    assert "hung up" in err and "of 100000 jobs were added for certain" in err, err
