"""twistyctl, verb by verb, against a daemon of a few lines that says what each test wants it to say."""

import json
import os
import pwd
import queue
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import pytest

from harness import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CTL = os.path.join(ROOT, os.environ.get("TWISTY_BUILD", "build"), "twistyctl")
CONTROL = "io.twisty.Control."
DEADLINE = 20  # seconds; for what should take milliseconds


class FakeDaemon:
    """Speaks Varlink on a Unix socket. `replies` maps a method to a list of messages: a dict is sent as JSON, bytes as
    they are; a callable gets the parameters and returns such a list. After the last one the connection stays open, or
    is closed after `None`. `calls` has what was received, and `leftovers` for each connection that the other side closed
    what came after the last call."""

    def __init__(self, path):
        self.path = path
        self.replies = {}
        self.calls = []
        self.leftovers = queue.Queue()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        received = b""
        with conn:
            while True:
                try:
                    data = conn.recv(65536)
                except OSError:
                    return
                if not data:
                    self.leftovers.put(received)
                    return
                received += data
                while b"\0" in received:
                    message, received = received.split(b"\0", 1)
                    if not self._answer(conn, json.loads(message)):
                        return

    def _answer(self, conn, call):
        self.calls.append(call)
        replies = self.replies[call["method"].removeprefix(CONTROL)]
        if callable(replies):
            replies = replies(call.get("parameters", {}))
        for reply in replies:
            if reply is None:
                return False
            try:
                conn.sendall(reply if isinstance(reply, bytes) else json.dumps(reply).encode() + b"\0")
            except OSError:
                return False
        return True

    def close(self):
        """No more connections; a mere close() would leave accept() waiting, and with it the socket."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def fake():
    directory = tempfile.mkdtemp(prefix="twisty-ctl.")
    daemon = FakeDaemon(os.path.join(directory, "s"))
    yield daemon
    if daemon.listener.fileno() >= 0:
        daemon.close()
    shutil.rmtree(directory)


def environment(**more):
    env = {key: value for key, value in os.environ.items() if key not in ("TWISTY_SOCKET", "XDG_RUNTIME_DIR")}
    return {**env, "TZ": "UTC", "LC_ALL": "C.UTF-8", **more}


def run(*args, **kwargs):
    """Exit status, stdout and stderr of twistyctl."""
    kwargs.setdefault("env", environment())
    kwargs.setdefault("stdout", subprocess.PIPE)
    program = kwargs.pop("program", CTL)
    done = subprocess.run([program, *args], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=DEADLINE,
                          errors="surrogateescape", check=False, **kwargs)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def as_other():
    """Arguments of run() that make it another user's, if we are root. The program may lie where only root can go."""
    if os.geteuid() != 0:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="twisty-bin.") as directory:
        os.chmod(directory, 0o755)
        program = shutil.copy(CTL, directory)
        yield {"program": program, "user": 65534, "group": 65534, "extra_groups": []}


def run_on(fake, *args, **kwargs):
    return run("--socket", fake.path, *args, **kwargs)


def owner():
    """The user as `show` tells it: by name, where there is one."""
    try:
        return f"{pwd.getpwuid(os.getuid()).pw_name} ({os.getuid()})"
    except KeyError:
        return str(os.getuid())


def a_job(name="tea", **changes):
    """A Job as the daemon makes it: all members, null where there is nothing."""
    job = {
        "id": 1, "name": name, "kind": "countdown", "state": "running", "count": 5, "left": 5, "ticks": 0, "missed": 0,
        "rate": "0.5/s", "interval": "2s", "delay": "0s", "intervalNsec": 2_000_000_000, "delayNsec": 0,
        "missedPolicy": "coalesce", "immediate": True, "background": False, "transient": False, "report": "all",
        "message": None,
        "source": "control", "owner": 0, "startUsec": 1_700_000_000_000_000, "elapsedNsec": 0,
        "nextUsec": 1_700_000_000_000_000, "nextNsec": 0, "reason": None,
    }
    return {**job, **changes}


def result(**parameters):
    return {"parameters": parameters}


def error(name, /, **parameters):
    return {"error": name if "." in name else CONTROL + name, "parameters": parameters}


LOOP = {"kind": "loop", "count": None, "left": None, "rate": "0.1/s", "interval": "10s", "intervalNsec": 10**10}


# add


def add_one(fake, job, *args):
    fake.replies["Add"] = [result(jobs=[job])]
    return run_on(fake, "add", *args)


def test_add_sends_what_was_said(fake):
    status, out, err = add_one(fake, a_job(), "countdown", "5", "--rate", "0.5", "--name", "tea", "--delay", "1min 30s",
                               "--missed", "burst", "--background", "--report", "every 2", "--message", "söme \"text\"",
                               "--replace")
    assert (status, err) == (0, "")
    assert fake.calls == [{"method": CONTROL + "Add", "parameters": {"jobs": [{
        "kind": "countdown", "count": 5, "rate": "0.5", "name": "tea", "delay": "1min 30s", "missed": "burst",
        "background": True, "report": "every 2", "message": "söme \"text\""}], "replace": True}}]


def test_add_leaves_out_what_was_not_said(fake):
    add_one(fake, a_job(**LOOP), "loop", "--no-immediate", "--interval", "10s", "--if-absent", "--name", "tea")
    assert fake.calls[0]["parameters"] == {
        "jobs": [{"kind": "loop", "immediate": False, "interval": "10s", "name": "tea"}], "ifAbsent": True}


@pytest.mark.parametrize("changes, line", [
    ({}, "tea: 5 ticks, one every 2s (0.5/s), done in 10s"),
    ({"count": 1, "left": 1}, "tea: 1 tick of 2s (0.5/s), done in 2s"),
    ({"delay": "1min", "delayNsec": 60 * 10**9, "state": "waiting"},
     "tea: 5 ticks, one every 2s (0.5/s), starting in 1min, done in 1min 10s"),
    ({"rate": "3/s", "intervalNsec": 333333333, "count": 10**6, "left": 10**6},
     "tea: 1000000 ticks, one every 333ms (3/s), done in 3d 21h"),
    (LOOP, "tea: a tick every 10s (0.1/s), until it is stopped"),
    ({**LOOP, "count": 1, "left": 1}, "tea: one tick, now"),
    ({**LOOP, "count": 1, "left": 1, "immediate": False}, "tea: one tick, in 10s"),
    ({**LOOP, "count": 1, "left": 1, "delayNsec": 10**9, "state": "waiting"}, "tea: one tick, in 1s"),
    ({**LOOP, "count": 5, "left": 5}, "tea: 5 ticks, one every 10s (0.1/s), done in 40s"),
    ({**LOOP, "count": 5, "left": 5, "immediate": False}, "tea: 5 ticks, one every 10s (0.1/s), done in 50s"),
    ({"kind": "once", "count": 1, "left": 1, "rate": None, "interval": None, "intervalNsec": None},
     "tea: one tick, now"),
    ({"kind": "once", "count": 1, "left": 1, "rate": None, "delayNsec": 1500 * 10**6, "state": "waiting"},
     "tea: one tick, in 1.5s"),
    ({"count": 0, "left": 0}, "tea: no ticks, finished at once"),
    ({"count": 0, "left": 0, "state": "finished", "nextNsec": None}, "tea: finished"),
    ({"ticks": 2, "left": 3, "nextNsec": 1_234_567_890}, "tea: running, 3 of 5 left, next in 1.23s"),
])
def test_add_tells_the_plan(fake, changes, line):
    assert add_one(fake, a_job(**changes), "once") == (0, line + "\n", "")


def test_add_quiet_prints_the_name_only(fake):
    assert add_one(fake, a_job("countdown-7"), "-q", "countdown", "5") == (0, "countdown-7\n", "")


def test_add_json_is_an_array(fake):
    status, out, _ = add_one(fake, a_job(), "--json", "countdown", "5")
    assert (status, json.loads(out)) == (0, [a_job()])


def test_add_mistakes_need_no_daemon():
    for args, line in [
        (["countdown", "5", "--rate", "2s"], "--rate: '2s' is a time span, not a rate; did you mean --interval 2s?"),
        (["countdwn", "5"], "kind: 'countdwn' is unknown; did you mean 'countdown'?"),
        (["countdown", "5", "--name", "a\nb"],
         "--name: 'a\\x0ab' is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter or digit"),
        (["countdown", "5", "--message", "a\x1bb"], None),
    ]:
        status, out, err = run("--socket", "/nowhere", "add", *args)
        assert (status, out) == (2, "")
        assert err == f"twistyctl: {line}\n" if line else re.fullmatch(r"twistyctl: --message: [^\n\x1b]*\n", err)


# list


def slices(*parts):
    return [{"parameters": {"jobs": part}, "continues": i + 1 < len(parts)} for i, part in enumerate(parts)]


JOBS = [
    a_job("tea", left=3, ticks=2, nextNsec=1_234_567_890),
    a_job("heartbeat", id=2, ticks=1234, missed=7, nextNsec=4 * 10**9, **LOOP),
    a_job("later", id=3, kind="once", state="waiting", count=1, left=1, rate=None, interval=None, intervalNsec=None,
          nextNsec=90 * 10**9),
    a_job("old", id=4, state="stopped", left=2, ticks=3, nextNsec=None, nextUsec=None),
    a_job("cold", id=5, state="paused", left=2, ticks=3, nextNsec=1_200_000_000, nextUsec=None),
]

TABLE = """\
NAME       KIND       STATE    LEFT  TICKS  MISSED  RATE   EVERY  NEXT
tea        countdown  running   3/5      2       0  0.5/s  2s     1.23s
heartbeat  loop       running     -   1234       7  0.1/s  10s    4s
later      once       waiting   1/1      0       0  -      -      1min 30s
old        countdown  stopped   2/5      3       0  0.5/s  2s     -
cold       countdown  paused    2/5      3       0  0.5/s  2s     1.2s (paused)
"""


def test_list_is_an_aligned_table(fake):
    fake.replies["List"] = slices(JOBS)
    assert run_on(fake, "list") == (0, TABLE, "")
    assert fake.calls == [{"method": CONTROL + "List", "more": True, "parameters": {}}]


def test_list_slices_make_one_table(fake):
    fake.replies["List"] = slices(JOBS[:2], JOBS[2:3], [], JOBS[3:])
    assert run_on(fake, "list") == (0, TABLE, "")


def test_list_quiet_has_no_header(fake):
    fake.replies["List"] = slices(JOBS)
    status, out, _ = run_on(fake, "list", "-q")
    assert (status, [line.split() for line in out.splitlines()]) == (
        0, [line.split() for line in TABLE.splitlines()[1:]])


def test_list_of_nothing(fake):
    fake.replies["List"] = slices([])
    assert run_on(fake, "list") == (0, "no jobs\n", "")
    assert run_on(fake, "list", "-q") == (0, "", "")
    assert run_on(fake, "list", "--json") == (0, "[]\n", "")


def test_list_asks_for_what_was_named(fake):
    fake.replies["List"] = slices(JOBS)
    run_on(fake, "list", "te*", "brew", "--all")
    run_on(fake, "--state", "paused,failed", "list")
    assert [call["parameters"] for call in fake.calls] == [
        {"match": ["te*", "brew"], "all": True}, {"all": True, "states": ["paused", "failed"]}]


def test_list_json_is_one_array_with_a_job_a_line(fake):
    fake.replies["List"] = slices(JOBS[:2], [], JOBS[2:])
    status, out, err = run_on(fake, "list", "--json")
    assert (status, json.loads(out), err) == (0, JOBS, "")
    assert [json.loads(line.rstrip(",")) for line in out.splitlines()[1:-1]] == JOBS


def test_list_prints_slices_as_they_come(fake):
    """The first slice is on stdout while the daemon holds the second one back."""
    go_on = threading.Event()

    def reply(_):
        yield slices(JOBS[:1], [])[0]
        assert go_on.wait(DEADLINE)
        yield slices(JOBS[1:])[0]

    fake.replies["List"] = reply
    with subprocess.Popen([CTL, "--socket", fake.path, "list"], stdout=subprocess.PIPE, text=True) as ctl:
        first = [ctl.stdout.readline(), ctl.stdout.readline()]
        go_on.set()
        rest = ctl.stdout.read()
    assert first[0].startswith("NAME") and first[1].startswith("tea")
    assert len(rest.splitlines()) == 4
    assert ctl.returncode == 0


def peak_memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) << 10


def test_list_of_any_length_takes_constant_memory(fake):
    """More bytes pass through twistyctl than it may hold at any time."""
    limit = 24 << 20
    part = json.dumps({"parameters": {"jobs": [a_job(f"job-{i}") for i in range(200)]}, "continues": True}).encode()
    n = 4 * limit // 3 // len(part)
    all_sent, go_on = threading.Event(), threading.Event()

    def reply(_):
        yield from [part + b"\0"] * n
        all_sent.set()
        assert go_on.wait(DEADLINE)
        yield from slices([])

    fake.replies["List"] = reply
    # Under the address sanitizer freed memory would otherwise be kept, and counted.
    env = environment(ASAN_OPTIONS="quarantine_size_mb=1")
    with tempfile.TemporaryFile() as table:
        with subprocess.Popen([CTL, "--socket", fake.path, "list", "-q"], stdout=table, env=env) as ctl:
            assert all_sent.wait(DEADLINE)
            peak = peak_memory(ctl.pid)
            go_on.set()
        table.seek(0)
        assert (ctl.returncode, table.read().count(b"\n")) == (0, 200 * n)
    assert peak < limit


def test_list_stops_when_nobody_reads(fake):
    fake.replies["List"] = slices(*[[a_job(f"job-{i}-{j}") for j in range(100)] for i in range(200)])
    script = '"$0" --socket "$1" list | head -n 2; echo "${PIPESTATUS[1]}"'
    done = subprocess.run(["bash", "-c", script, CTL, fake.path], capture_output=True, text=True, timeout=DEADLINE,
                          check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 3


def test_closed_pipe_is_quiet_where_sigpipe_is_ignored(fake):
    fake.replies["List"] = slices(*[[a_job(f"job-{i}-{j}") for j in range(100)] for i in range(20)])
    reading, writing = os.pipe()
    os.close(reading)
    status, _, err = run_on(fake, "list", stdout=writing, restore_signals=False,
                            preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN))
    os.close(writing)
    assert (status, err) == (0, "")


def test_full_disk_is_told(fake):
    fake.replies["List"] = slices(JOBS)
    with open("/dev/full", "w", encoding="ascii") as full:
        status, _, err = run_on(fake, "list", stdout=full)
    assert (status, err) == (1, "twistyctl: cannot write to standard output: No space left on device\n")


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["add", "--help"], ["help", "list"]])
def test_help_that_cannot_be_written_is_told(args):
    with open("/dev/full", "w", encoding="ascii") as full:
        status, _, err = run(*args, stdout=full)
    assert (status, err) == (1, "twistyctl: cannot write to standard output: No space left on device\n")
    status, _, err = run(*args, preexec_fn=lambda: os.close(1))
    assert (status, err) == (1, "twistyctl: cannot write to standard output: Bad file descriptor\n")


@pytest.mark.parametrize("args", [["list"], ["watch"], ["stop", "tea"], ["add", "countdown", "5"]])
def test_closed_stdout_is_told_and_is_not_the_socket(fake, args):
    fake.replies.update(List=slices(JOBS), Stop=slices(JOBS), Add=[result(jobs=JOBS)], Watch=stream({"event": "ready"}))
    status, _, err = run_on(fake, *args, preexec_fn=lambda: os.close(1))
    assert (status, err) == (1, "twistyctl: cannot write to standard output: Bad file descriptor\n")
    assert (len(fake.calls), fake.leftovers.get(timeout=DEADLINE)) == (1, b"")


@pytest.mark.parametrize("closed", [[0], [2], [0, 2]])
def test_closed_stdin_and_stderr_are_no_matter(fake, closed):
    def close():
        for fd in closed:
            os.close(fd)

    fake.replies["List"] = slices(JOBS)
    assert run_on(fake, "list", preexec_fn=close) == (0, TABLE, "")
    fake.replies["List"] = [error("NoSuchJob", match="x", nearest=None)]
    assert run_on(fake, "list", "x", preexec_fn=close)[0] == 4
    assert [fake.leftovers.get(timeout=DEADLINE) for _ in range(2)] == [b"", b""], "the error is told to the daemon"


def test_texts_from_the_daemon_cannot_act_on_a_terminal(fake):
    evil = "x\x1b[2J\ny"
    fake.replies["List"] = slices([a_job(evil, message=evil, state=evil)])
    for args in (["list"], ["show", "tea"]):
        _, out, _ = run_on(fake, *args)
        assert "\x1b" not in out and "x\\x1b[2J\\x0ay" in out
    fake.replies["Stop"] = [error("NoSuchJob", match=evil, nearest=evil)]
    _, _, err = run_on(fake, "stop", "tea")
    assert "\x1b" not in err and err.count("\n") == 1


# show


def test_show_tells_all(fake):
    fake.replies["List"] = slices([a_job(
        id=7, left=3, ticks=2, missed=1, nextNsec=1_500_000_000, nextUsec=1_700_000_001_500_000, elapsedNsec=3 * 10**9,
        message="hot water", owner=os.getuid())])
    status, out, err = run_on(fake, "show", "tea")
    assert (status, err) == (0, "")
    assert dict(line.split(None, 1) for line in out.splitlines()) == {
        "name": "tea", "id": "7", "kind": "countdown", "state": "running", "count": "5", "left": "3", "ticks": "2",
        "missed": "1 (coalesce)", "rate": "0.5/s", "interval": "2s", "delay": "0s", "background": "no", "transient": "no",
        "report": "all", "message": "hot water", "source": "control",
        "owner": owner(),
        "started": "2023-11-14 22:13:20", "elapsed": "3s", "next": "in 1.5s, at 2023-11-14 22:13:21"}
    assert fake.calls[0]["parameters"] == {"match": ["tea"], "all": True}


def test_show_of_a_paused_job(fake):
    fake.replies["List"] = slices([a_job(state="paused", nextNsec=1_200_000_000, nextUsec=None)])
    assert "next        1.2s after it is resumed" in run_on(fake, "show", "tea")[1].splitlines()


def test_show_of_a_failed_loop(fake):
    fake.replies["List"] = slices([a_job(state="failed", reason="exit status 3", nextNsec=None, **LOOP)])
    _, out, _ = run_on(fake, "show", "tea")
    for line in ("reason      exit status 3", "count       without end", "immediate   yes"):
        assert line in out.splitlines()
    assert "next " not in out


def test_show_json_is_one_object(fake):
    fake.replies["List"] = slices([a_job()])
    status, out, _ = run_on(fake, "show", "tea", "--json")
    assert (status, json.loads(out)) == (0, a_job())


def test_show_of_nothing(fake):
    fake.replies["List"] = slices([])
    assert run_on(fake, "show", "tea") == (4, "", "twistyctl: no job matches 'tea'; see 'twistyctl list --all'\n")


# stop, pause, resume, reset, rm


@pytest.mark.parametrize("verb, method, changes, line", [
    ("stop", "Stop", {"state": "stopped", "left": 3, "nextNsec": None}, "tea: stopped, 3 of 5 left"),
    ("pause", "Pause", {"state": "paused", "left": 3, "nextNsec": 12 * 10**8, "nextUsec": None},
     "tea: paused, 3 of 5 left, next 1.2s after it is resumed"),
    ("resume", "Resume", {"left": 3, "nextNsec": 700 * 10**6}, "tea: running, 3 of 5 left, next in 700ms"),
    ("reset", "Reset", {"nextNsec": 2 * 10**9}, "tea: running, 5 of 5 left, next in 2s"),
    ("stop", "Stop", {**LOOP, "state": "stopped", "ticks": 12, "nextNsec": None}, "tea: stopped after 12 ticks"),
    ("rm", "Remove", {"state": "finished"}, "tea: removed"),
])
def test_steering(fake, verb, method, changes, line):
    fake.replies[method] = [result(jobs=[a_job(**changes)])]
    assert run_on(fake, verb, "t*", "tea") == (0, line + "\n", "")
    assert fake.calls == [{"method": CONTROL + method, "more": True, "parameters": {"match": ["t*", "tea"]}}]
    assert run_on(fake, verb, "tea", "-q") == (0, "", "")
    status, out, _ = run_on(fake, verb, "tea", "--json")
    assert (status, json.loads(out)) == (0, [a_job(**changes)])


def test_rm_ended(fake):
    fake.replies["Remove"] = [result(jobs=[a_job(state="failed")])]
    assert run_on(fake, "rm", "--ended") == (0, "tea: removed\n", "")
    run_on(fake, "rm", "--ended", "t*")
    assert [call["parameters"] for call in fake.calls] == [
        {"match": ["*"], "ended": True}, {"match": ["t*"], "ended": True}]


def test_rm_ended_with_none_ended_is_done(fake):
    fake.replies["Remove"] = slices([])
    assert run_on(fake, "rm", "--ended") == (0, "no jobs\n", "")
    assert run_on(fake, "rm", "--ended", "--json") == (0, "[]\n", "")
    assert run_on(fake, "rm", "--ended", "-q") == (0, "", "")


def test_steering_many_jobs_prints_the_slices(fake):
    fake.replies["Stop"] = slices(JOBS[:2], [], JOBS[2:], [])
    status, out, err = run_on(fake, "stop", "*")
    assert (status, [line.partition(":")[0] for line in out.splitlines()], err) == (
        0, [job["name"] for job in JOBS], "")
    status, out, _ = run_on(fake, "stop", "*", "--json")
    assert (status, json.loads(out)) == (0, JOBS)


def many_slices(sent):
    part = [a_job(f"job-{i}") for i in range(100)]
    for i in range(200):
        yield slices(part, [])[0]
        sent.append(i)
    yield slices([])[0]
    sent.append("all")


def test_steering_goes_on_to_the_end_when_nobody_reads(fake):
    """A daemon whose client has gone leaves the other jobs as they were."""
    sent = []
    fake.replies["Stop"] = lambda _: many_slices(sent)
    reading, writing = os.pipe()
    os.close(reading)
    status, _, err = run_on(fake, "stop", "*", stdout=writing)
    os.close(writing)
    assert (status, err) == (0, "")
    wait_until(lambda: sent[-1] == "all")


def test_steering_goes_on_to_the_end_when_the_disk_is_full(fake):
    sent = []
    fake.replies["Stop"] = lambda _: many_slices(sent)
    with open("/dev/full", "w", encoding="ascii") as full:
        status, _, err = run_on(fake, "stop", "*", stdout=full)
    assert (status, err) == (1, "twistyctl: cannot write to standard output: No space left on device\n")
    wait_until(lambda: sent[-1] == "all")


# status, reload, shutdown


STATUS = {
    "version": "0.1.0", "pid": 4711, "startUsec": 1_700_000_000_000_000, "uptimeNsec": 200 * 10**9, "backend": "epoll",
    "clock": "monotonic", "logTarget": "journal", "configuration": None, "socket": "/run/twisty/control.sock",
    "exitWhenDone": True, "jobs": {"listed": 5, "live": 3, "foreground": 2, "paused": 1, "ever": 12}, "ticks": 1234,
    "missed": 2, "suppressed": 3, "logLost": 4, "connections": 1, "nextName": "tea",
    "lateness": {"p50Nsec": 41_234, "p99Nsec": 1_034_567, "maxNsec": 2_500_000_000},
    "nextUsec": 1_700_000_000_000_000, "nextNsec": 1_200_000_000, "loop": None,
}


def test_status(fake):
    fake.replies["Status"] = [result(status=STATUS)]
    assert run_on(fake, "status") == (0, """\
twistyd 0.1.0, pid 4711, up 3min 20s
socket      /run/twisty/control.sock
config      none
state       none
backend     epoll
clock       monotonic
log         journal, 3 ticks suppressed, 4 lines lost
jobs        3 live (2 in the foreground, 1 paused), 5 listed, 12 since the start
ticks       1234, 2 missed
lateness    half within 41.2us, 99 of 100 within 1.03ms, at most 2.5s
next        tea in 1.2s, at 2023-11-14 22:13:20
clients     1
exits       when every job has ended
""", "")
    assert fake.calls[0]["parameters"] == {}


def test_status_of_a_daemon_that_has_had_no_tick(fake):
    fake.replies["Status"] = [result(status={**STATUS, "ticks": 0, "lateness": None})]
    status, out, _ = run_on(fake, "status")
    assert status == 0 and "lateness" not in out


def test_status_loop(fake):
    loop = [{"purpose": "signal", "detail": "SIGTERM", "number": 15, "waitsFor": ["signal"]},
            {"purpose": "clock", "detail": None, "number": None, "waitsFor": ["read", "timeout"]}]
    fake.replies["Status"] = [result(status={**STATUS, "loop": loop})]
    status, out, _ = run_on(fake, "status", "--loop")
    assert (status, out.splitlines()[-3:]) == (
        0, ["the loop waits for", "  signal SIGTERM: signal (15)", "  clock: read, timeout"])
    assert fake.calls[0]["parameters"] == {"loop": True}
    _, out, _ = run_on(fake, "status", "--loop", "--json")
    assert json.loads(out)["loop"] == loop


RELOADED = {"added": ["brew"], "changed": ["tea", "milk"], "removed": [], "addedCount": 1, "changedCount": 2000,
            "removedCount": 0, "unchanged": 3, "restartNeeded": ["backend"]}


def test_reload(fake):
    fake.replies["Reload"] = [{"parameters": RELOADED}]
    warning = "twistyctl: backend has changed and takes effect when twistyd is started again\n"
    assert run_on(fake, "reload") == (
        0, "added     brew\nchanged   tea\nchanged   milk\nchanged   and 1998 more\nunchanged 3\n", warning)
    assert run_on(fake, "reload", "-q") == (0, "", warning)
    status, out, _ = run_on(fake, "reload", "--json")
    assert (status, json.loads(out)) == (0, RELOADED)


def test_reload_of_a_wrong_configuration(fake):
    fake.replies["Reload"] = [error("InvalidConfiguration", mistakes=["a.conf:1: x: y", "a.conf:2: \x1b"])]
    assert run_on(fake, "reload") == (
        1, "", "a.conf:1: x: y\na.conf:2: \\x1b\n"
               "twistyctl: the configuration has 2 mistakes; the daemon keeps what it had\n")


def test_shutdown(fake):
    fake.replies["Shutdown"] = [result(), None]
    assert run_on(fake, "shutdown") == (0, "", "")
    status, out, _ = run_on(fake, "shutdown", "--json")
    assert (status, json.loads(out)) == (0, {})


# actions


def an_action(name="page", running=0, queued=0, started=0, failed=0, skipped=0, **changes):
    return {"name": name, "allow": "root", "permitted": True, "timeout": "30s", "overlap": "skip", "retry": 0,
            "backoff": "1s", "exec": ["/bin/page"],
            "runs": {"running": running, "queued": queued, "started": started, "failed": failed, "skipped": skipped},
            **changes}


def action_slices(*parts):
    return [{"parameters": {"actions": part}, "continues": i + 1 < len(parts)} for i, part in enumerate(parts)]


ACTIONS = [an_action(timeout="1min 30s", retry=3, started=12, failed=2),
           an_action("pour", allow="group", permitted=False, exec=None, overlap="queue", running=1, queued=15, skipped=7)]

ACTION_TABLE = """\
NAME  ALLOW  TIMEOUT   OVERLAP  RETRY  RUNNING  QUEUED  STARTED  FAILED  SKIPPED
page  root   1min 30s  skip         3        0       0       12       2        0
pour  group  30s       queue        0        1      15        0       0        7
"""


def test_actions_are_an_aligned_table(fake):
    fake.replies["Actions"] = action_slices(ACTIONS)
    assert run_on(fake, "actions") == (0, ACTION_TABLE, "")
    assert fake.calls == [{"method": CONTROL + "Actions", "more": True, "parameters": {}}]
    fake.replies["Actions"] = action_slices(ACTIONS[:1], [], ACTIONS[1:])
    status, out, err = run_on(fake, "actions")
    assert (status, [line.split() for line in out.splitlines()], err) == (
        0, [line.split() for line in ACTION_TABLE.splitlines()], "")
    status, out, err = run_on(fake, "actions", "-q")
    assert (status, len(out.splitlines()), err) == (0, 2, "")


def test_actions_json_is_one_array(fake):
    fake.replies["Actions"] = action_slices(ACTIONS[:1], ACTIONS[1:])
    status, out, _ = run_on(fake, "actions", "--json")
    assert (status, json.loads(out)) == (0, ACTIONS)
    assert [json.loads(line.rstrip(",")) for line in out.splitlines()[1:-1]] == ACTIONS


def test_no_actions(fake):
    fake.replies["Actions"] = action_slices([])
    assert run_on(fake, "actions") == (0, "no actions\n", "")
    assert run_on(fake, "actions", "--json") == (0, "[]\n", "")
    fake.replies["Actions"] = [error("NotPermitted", reason="no")]
    status, out, err = run_on(fake, "actions")
    assert (status, out) == (77, "") and err.startswith("twistyctl: ")
    fake.replies["Actions"] = slices([a_job()])
    status, out, err = run_on(fake, "actions")
    assert (status, out) == (1, "") and "does not speak Varlink" in err


# watch


def an_event(word, **members):
    return {"event": word, "timeUsec": 1_700_000_000_000_000, "name": "tea", "id": 1, "kind": "countdown",
            "state": "running", "count": 5, **members}


def a_failure(**members):
    return {"event": "actionFailed", "timeUsec": 1, "name": "tea", "id": 1, **members}


def stream(*events):
    return [{"parameters": {"event": event}, "continues": True} for event in events]


EVENTS = [
    ({"event": "ready", "timeUsec": 1}, "ready"),
    (an_event("start", left=5, missed=0, elapsedNsec=0, rate="40/h", interval="1min 30s", delay="2s", source="config",
              message="hot"),
     'start job=tea id=1 kind=countdown count=5 rate=40/h interval="1min 30s" delay=2s source=config msg="hot"'),
    (an_event("start", kind="loop", count=None, rate="1/s", interval="1s", delay=None, source="control"),
     "start job=tea id=1 kind=loop rate=1/s interval=1s source=control"),
    (an_event("start", kind="once", count=1, rate=None, interval=None, delay="0s", source="control"),
     "start job=tea id=1 kind=once source=control"),
    (an_event("start", left=5), "start job=tea id=1 kind=countdown count=5"),
    (an_event("tick", left=4, tick=1, missed=0, lateUsec=3, elapsedNsec=1), "tick job=tea id=1 left=4 count=5"),
    (an_event("tick", left=2, tick=2, missed=1, lateUsec=3, message='say "hi" = \\'),
     'tick job=tea id=1 left=2 count=5 missed=1 msg="say \\"hi\\" = \\\\"'),
    (an_event("tick", kind="loop", count=None, left=None, tick=9, missed=0), "tick job=tea id=1 tick=9"),
    (an_event("missed", left=1, missed=2), "missed job=tea id=1 left=1 count=5 missed=2"),
    (an_event("pause", left=1, missed=2), "pause job=tea id=1 left=1 count=5"),
    *((an_event(word, kind="loop", count=7, left=3, tick=4), f"{word} job=tea id=1 tick=4 count=7")
      for word in ("pause", "resume", "reset")),
    (an_event("stop", kind="loop", count=None, left=None, tick=9, missed=1, elapsedNsec=10**9, reason="shutdown"),
     "stop job=tea id=1 tick=9 missed=1 elapsed=1s why=shutdown"),
    (an_event("finish", left=0, missed=0, elapsedNsec=10_000_400_000),
     "finish job=tea id=1 count=5 missed=0 elapsed=10s"),
    (an_event("finish", kind="once", count=1, left=0, missed=0, elapsedNsec=0),
     "finish job=tea id=1 count=1 missed=0 elapsed=0s"),
    (an_event("stop", left=1, missed=0, elapsedNsec=61 * 10**9, reason="control"),
     'stop job=tea id=1 left=1 count=5 missed=0 elapsed="1min 1s" why=control'),
    (an_event("failed", left=1, missed=0, elapsedNsec=10**9, reason="exit status 3"),
     'failed job=tea id=1 left=1 count=5 missed=0 elapsed=1s reason="exit status 3"'),
    (a_failure(action="page", occasion="finish", status="SIGSEGV", runtimeNsec=1_500_000, attempt=1),
     "action-failed job=tea id=1 action=page event=finish status=SIGSEGV runtime=2ms"),
    (a_failure(action="page", occasion="tick", status="3", runtimeNsec=61 * 10**9, attempt=1, retryInNsec=10**9,
               lastLine='a "b"\x1b'),
     'action-failed job=tea id=1 action=page event=tick status=3 runtime="1min 1s" attempt=1 retry-in=1s'
     ' stderr="a \\"b\\"\\x1b"'),
    (a_failure(action="page", occasion="failure", status="not-found", runtimeNsec=0, attempt=2, error="/x: No"),
     'action-failed job=tea id=1 action=page event=failure status=not-found runtime=0s attempt=2 error="/x: No"'),
    (a_failure(action="page", occasion="stop", status="queue-full", runtimeNsec=0, refused=1, error="full"),
     'action-failed job=tea id=1 action=page event=stop status=queue-full runtime=0s error="full"'),
    (a_failure(action="page", occasion="stop", status="queue-full", runtimeNsec=0, refused=9, error="full"),
     'action-failed job=tea id=1 action=page event=stop status=queue-full runtime=0s refused=9 error="full"'),
    ({"event": "lost", "timeUsec": 1, "lost": 17}, "lost lost=17"),
    ({"event": "exit", "timeUsec": 1, "reason": "out of luck"}, 'exit why="out of luck"'),
]


def test_watch_prints_the_lines_of_the_log(fake):
    fake.replies["Watch"] = stream(*[event for event, _ in EVENTS])
    status, out, err = run_on(fake, "watch", "tea", "br*")
    assert (status, out.splitlines(), err) == (0, [line for _, line in EVENTS], "")
    assert fake.calls == [{"method": CONTROL + "Watch", "more": True, "parameters": {"match": ["tea", "br*"]}}]


def test_watch_says_what_the_log_says(daemon):
    """Word for word, but for the numbers of `ready` and `exit`, which the log alone has."""
    d = daemon("[job:old]\nkind = loop\nrate = 40/h\n[action:bad]\nretry = 1\nbackoff = 10ms\n"
               r'''exec = /bin/sh -c "printf 'x \\\"b\\\" \\033\\n' >&2; exit 3"''' "\n[action:gone]\nexec = /not/there\n")
    d.wait_for("^tick job=old ")
    with subprocess.Popen([CTL, "--socket", d.socket, "watch"], stdout=subprocess.PIPE, text=True) as ctl:
        assert ctl.stdout.readline() == "ready\n"
        n = len(d.texts())
        d.ctl("add", "countdown", "2", "--name", "tea", "--rate", "20", "--message", 'a "b" = \\ ü')
        d.ctl("add", "loop", "--name", "beat", "--interval", "50ms", "--delay", "20ms")
        d.ctl("add", "once", "--name", "bell", "--delay", "1min 30s", "--message", "b")
        d.ctl("add", "loop", "--name", "bad", "--interval", "1h", "--on-tick", "bad", "--on-stop", "gone",
              "--on-failure", "stop")
        d.wait_for("^failed job=bad ")
        d.ctl("add", "loop", "--name", "gone", "--interval", "1h", "--on-stop", "gone")
        d.ctl("stop", "gone")
        d.wait_for("^action-failed job=gone ")
        d.wait_for("^tick job=beat ", count=2)
        d.wait_for("^finish job=tea ")
        for verb in ("pause", "resume", "reset", "stop"):
            d.ctl(verb, "beat", "bell", "old")
        d.ctl("rm", "bell")
        d.ctl("shutdown")
        d.wait_exit()
        seen = ctl.stdout.read().splitlines()
        assert ctl.wait(DEADLINE) == 0
    log = [text for text in d.texts()[n:] if not text.startswith("output ")]
    assert seen[:-1] == log[:-1]
    assert seen[-1] == "exit why=shutdown" and log[-1].startswith("exit why=shutdown ")
    assert {line.split()[0] for line in seen} - {"missed"} == {  # which a slow machine has, too
        "start", "tick", "finish", "pause", "resume", "reset", "stop", "action-failed", "failed", "exit"}


def test_watch_ends_with_the_daemon(fake):
    fake.replies["Watch"] = stream({"event": "ready"}, {"event": "exit", "reason": "done"}, {"event": "ready"})
    assert run_on(fake, "watch") == (0, "ready\nexit why=done\n", "")


def test_watch_json_is_json_lines(fake):
    fake.replies["Watch"] = stream(*[event for event, _ in EVENTS])
    status, out, _ = run_on(fake, "watch", "--json")
    assert (status, [json.loads(line) for line in out.splitlines()]) == (0, [event for event, _ in EVENTS])


def start_watch(fake, **kwargs):
    fake.replies["Watch"] = stream({"event": "ready"}, an_event("tick", left=4))
    return subprocess.Popen([CTL, "--socket", fake.path, "watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **kwargs)


def test_watch_writes_each_line_at_once_and_ends_quietly(fake):
    with start_watch(fake) as ctl:
        assert ctl.stdout.readline() == "ready\n"
        assert ctl.stdout.readline() == "tick job=tea id=1 left=4 count=5\n"
        ctl.send_signal(signal.SIGINT)
        assert ctl.wait(DEADLINE) == -signal.SIGINT
        assert (ctl.stdout.read(), ctl.stderr.read()) == ("", "")


def test_watch_ends_when_its_reader_goes(fake):
    """Not only when it has the next line to write: that may never come."""
    with start_watch(fake) as ctl:
        assert ctl.stdout.readline() == "ready\n"
        assert ctl.stdout.readline() != ""
        ctl.stdout.close()
        assert ctl.wait(DEADLINE) == 0
        assert ctl.stderr.read() == ""


def test_watch_tells_when_the_daemon_dies(fake):
    fake.replies["Watch"] = stream({"event": "ready"}) + [None]
    status, out, err = run_on(fake, "watch")
    assert (status, out) == (1, "ready\n")
    assert "hung up" in err


# errors


@pytest.mark.parametrize("reply, status, line", [
    (error("NoSuchJob", match="brw", nearest="brew"), 4, "no job matches 'brw'; did you mean 'brew'?"),
    (error("NoSuchJob", match="x*", nearest=None), 4, "no job matches 'x*'; see 'twistyctl list --all'"),
    (error("JobEnded", name="tea", state="finished"), 1,
     "job 'tea' is finished already; 'twistyctl reset tea' starts it again"),
    (error("JobExists", name="tea"), 1,
     "job 'tea' is there already; use another --name, or --replace or --if-absent"),
    (error("InvalidJob", index=0, field="interval", reason="'0' is zero"), 1, "--interval: '0' is zero"),
    (error("InvalidJob", index=0, field="kind", reason="missing"), 1, "kind: missing"),
    (error("LimitReached", limit="names and globs in one call", value=1000), 1,
     "limit: names and globs in one call: at most 1000"),
    (error("LimitReached", limit="max-jobs", value=1000), 1,
     "limit: max-jobs: at most 1000; remove some with 'twistyctl rm', or see twistyd.conf(5)"),
    (error("LimitReached", limit="max-connections", value=256), 1,
     "limit: max-connections: at most 256 of a user; see twistyd.conf(5)"),
    (error("NotDurable", reason="disk full", inForce=False), 1,
     "not done, since it could not be kept over a restart: disk full; see twistyctl status, or add --transient"),
    (error("NotDurable", reason="disk full", inForce=True), 1,
     "done, but a restart now would undo it, since it cannot be kept: disk full"),
    ({"error": CONTROL + "Strange"}, 1, "the daemon refused: io.twisty.Control.Strange "),
    (error("org.varlink.service.MethodNotFound", method="Stop"), 1,
     "the daemon has no method Stop; is it older than this twistyctl 0.1.0?"),
    (error("org.varlink.service.InvalidParameter", parameter="match"), 1,
     "the daemon does not take 'match'; is it older than this twistyctl 0.1.0?"),
])
def test_errors_are_one_line_and_a_status(fake, reply, status, line):
    fake.replies["Stop"] = [reply]
    assert run_on(fake, "stop", "tea") == (status, "", f"twistyctl: {line}\n")
    assert run_on(fake, "stop", "tea", "--json") == (status, "", f"twistyctl: {line}\n")


def test_not_permitted(fake):
    fake.replies["Shutdown"] = [error("NotPermitted", reason="only root may stop the daemon")]
    status, _, err = run_on(fake, "shutdown")
    remedy = "" if os.geteuid() == 0 else "; try sudo"
    assert (status, err) == (77, f"twistyctl: not permitted: only root may stop the daemon{remedy}\n")


@pytest.mark.parametrize("replies, words", [
    ([None], "hung up before its reply was complete; see its log, or try 'twistyd --check'"),
    ([b'{"parameters":{"jobs":[', None], "hung up"),
    ([b"HTTP/1.1 400 Bad Request\r\n\r\n\0"], "does not speak Varlink"),
    ([b"\0"], "does not speak Varlink"),
    ([b'{"parameters":[]}\0'], "does not speak Varlink"),
    ([result()], "does not speak Varlink"),
    ([result(jobs="none")], "does not speak Varlink"),
    ([b'{"parameters":' + b"[" * 100000 + b"\0"], "does not speak Varlink"),
])
@pytest.mark.parametrize("verb", ["list", "stop"])
def test_broken_replies(fake, replies, words, verb):
    fake.replies["List"] = fake.replies["Stop"] = replies
    status, out, err = run_on(fake, verb, "tea")
    assert (status, out) == (1, "")
    assert words in err and err.count("\n") == 1


def test_jobs_with_strange_members_are_printed_all_the_same(fake):
    fake.replies["List"] = slices([{}, 1, None, [], a_job(count="x", left=-1, nextNsec=-5, intervalNsec=-1, rate=3)])
    status, out, _ = run_on(fake, "list")
    assert (status, len(out.splitlines())) == (0, 6)


def test_no_daemon(fake):
    fake.close()
    path = fake.path
    line = f"twistyctl: no daemon listens on {path}; start it with 'systemctl start twistyd' or 'twistyd'\n"
    assert run("--socket", path, "list") == (7, "", line)
    os.unlink(path)
    assert run("--socket", path, "list") == (7, "", line)


def test_permission_denied(fake, as_other):
    os.chmod(fake.path, 0)
    os.chmod(os.path.dirname(fake.path), 0o755)
    status, _, err = run_on(fake, "list", **as_other)
    assert (status, err) == (
        77, f"twistyctl: permission denied on {fake.path}; join group 'twisty' or use sudo\n")


def test_socket_path_too_long():
    status, _, err = run("--socket", "/" + "x" * 108, "list")
    assert status == 2 and "longer than 107 bytes" in err


def test_where_the_socket_is_looked_for(fake):
    fake.replies["List"] = slices([])
    elsewhere = environment(TWISTY_SOCKET="/nowhere/s")
    assert run("list", env=environment(TWISTY_SOCKET=fake.path))[0] == 0
    assert run_on(fake, "list", env=elsewhere)[0] == 0
    assert "/nowhere/s;" in run("list", env=elsewhere)[2]


def test_an_ordinary_user_has_a_socket_of_their_own(as_other):
    """Root's twistyctl goes to the system's daemon, whatever XDG_RUNTIME_DIR says."""
    directory = tempfile.mkdtemp(prefix="twisty-xdg.")
    os.chmod(directory, 0o755)
    os.mkdir(os.path.join(directory, "twisty"))
    own = FakeDaemon(os.path.join(directory, "twisty", "control.sock"))
    os.chmod(own.path, 0o666)
    own.replies["Status"] = [result(status=STATUS)]
    env = environment(XDG_RUNTIME_DIR=directory)
    status, _, _ = run("status", env=env, **as_other)
    calls = len(own.calls)
    if os.geteuid() == 0:
        run("status", env=env)
    own.close()
    shutil.rmtree(directory)
    assert (status, calls, len(own.calls)) == (0, 1, 1)


def test_usage_errors_have_status_2():
    for args in ([], ["lst"], ["list", "--jsno"], ["stop"], ["--socket"], ["status", "x"]):
        status, out, err = run(*args)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("twistyctl: ")


# help, completion and the manual tell the same


def words_of(*line):
    return run("complete", *line)[1].split()


VERBS = ["add", "list", "show", "stop", "pause", "resume", "reset", "rm", "actions", "status", "watch", "reload",
         "shutdown", "help"]


def test_the_verbs():
    assert words_of("") == VERBS


def test_help_of_everything():
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert run("help")[1] == run("-h")[1] == out
    for word in VERBS + words_of("--"):
        assert word in out
    for code in "0 1 2 4 7 77".split():
        assert re.search(rf"^  {code} ", out, re.M)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb(verb):
    status, out, err = run(verb, "--help")
    assert (status, err) == (0, "")
    assert run("help", verb)[1] == out
    assert out.startswith(f"usage: twistyctl {verb} ")
    for option in words_of(verb, "--"):
        assert option in out
    assert "(null)" not in out, "an option has no summary"
    assert max(len(line) for line in out.splitlines()) <= 100


def test_help_shows_how_to_say_no():
    _, out, _ = run("add", "--help")
    for switch in ("immediate", "background", "transient"):
        assert f"--{switch} [yes|no] " in out and f"--no-{switch} " in out


def test_version():
    assert run("--version") == (0, "twistyctl 0.1.0\n", "")


def test_the_manual_has_every_verb_option_and_status():
    with open(os.path.join(ROOT, "ctl", "twistyctl.1"), encoding="utf-8") as file:
        manual = file.read()
    for verb in VERBS:
        assert re.search(rf"^\.(It|Nm) .*{verb}\b", manual, re.M), verb
        for option in words_of(verb, "--"):
            assert f"Fl Fl {option[2:]}" in manual, option
    for code in "0 1 2 4 7 77".split():
        assert re.search(rf"^\.It {code}$", manual, re.M), code


def bash_completes(fake, line):
    """What bash offers at the end of the line, through the installed script; the line's words are split as bash does."""
    script = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        compopt() { echo "compopt $*"; }
        _twistyctl
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    words = [word for part in line.split(" ") for word in (re.split(r"(=)", part) if "=" in part else [part])]
    if line.endswith("="):
        words.pop()
    done = subprocess.run(["bash", "-c", script, "bash", os.path.join(ROOT, "ctl", "completion", "twistyctl"), CTL,
                           *words], capture_output=True, text=True, timeout=DEADLINE, check=False,
                          env=environment(TWISTY_SOCKET=fake.path))
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("line, expected", [
    ("re", ["resume", "reset", "reload"]),
    ("--js", ["--json"]),
    ("--json sh", ["show", "shutdown"]),
    ("add ", ["countdown", "loop", "once"]),
    ("add --rate 2 co", ["countdown"]),
    ("add countdown 5 --mi", ["--missed"]),
    ("add loop --missed ", ["coalesce", "delay", "burst"]),
    ("add loop --missed=d", ["delay"]),
    ("add loop --missed=", ["coalesce", "delay", "burst"]),
    ("add loop --immediate ", ["yes", "no", "countdown", "loop", "once"]),
    ("add loop --no", ["--no-immediate", "--no-background", "--no-transient"]),
    ("add loop --report ", ["all", "none"]),
    ("add loop --rate ", []),
    ("list --state ", ["waiting", "running", "paused", "finished", "stopped", "failed"]),
    ("list --state running,p", ["running,paused"]),
    ("help st", ["stop", "status"]),
    ("status --l", ["--loop"]),
    ("frobnicate ", []),
    ("--socket /t", ["compopt", "-o", "default"]),
])
def test_completion(fake, line, expected):
    assert bash_completes(fake, line) == expected


@pytest.mark.parametrize("verb, parameters", [
    ("stop", {"match": ["te*"], "all": False}),
    ("show", {"match": ["te*"], "all": True}),
    ("resume", {"match": ["te*"], "states": ["paused"]}),
])
def test_completion_of_job_names(fake, verb, parameters):
    fake.replies["List"] = slices([a_job("tea"), a_job("tea-2")], [a_job("ted"), a_job("te$(reboot)"), a_job("x")])
    assert bash_completes(fake, f"{verb} te") == ["tea", "tea-2", "ted"]
    assert fake.calls[0]["parameters"] == parameters


def test_completion_of_what_jobs_name(fake):
    fake.replies["Actions"] = action_slices([an_action("page"), an_action("pour"), an_action("p;reboot"), {}, 1],
                                            [an_action("parade", permitted=False), an_action("call")])
    for option in ("--on-tick", "--on-finish", "--on-stop"):
        assert bash_completes(fake, f"add loop {option} p") == ["page", "pour"]
    assert bash_completes(fake, "add loop --on-tick=") == ["page", "pour", "call"]
    assert bash_completes(fake, "add loop --on-failure ") == ["continue", "stop", "page", "pour", "call"]
    assert bash_completes(fake, "add loop --on-failure c") == ["continue", "call"]
    assert all(call == {"method": CONTROL + "Actions", "more": True, "parameters": {}} for call in fake.calls)
    fake.calls.clear()
    fake.replies["List"] = slices([a_job("tea"), a_job("ted")])
    assert bash_completes(fake, "add once --after te") == ["tea", "ted"]
    assert fake.calls[0]["parameters"] == {"match": ["te*"], "all": False}
    fake.close()
    assert bash_completes(fake, "add loop --on-failure ") == ["continue", "stop"]


def test_completion_asks_the_daemon_that_is_named(fake):
    fake.replies["List"] = slices([a_job("tea")])
    for words in (["--socket", fake.path, "stop", ""], ["stop", "--socket=" + fake.path, ""]):
        assert words_of(*words) == ["tea"]


def test_completion_is_silent_and_bounded(fake):
    fake.replies["List"] = slices(*[[a_job(f"t{i}-{j}") for j in range(400)] for i in range(5)])
    assert len(bash_completes(fake, "stop t")) == 500
    fake.replies["List"] = [error("NotPermitted", reason="no")]
    assert bash_completes(fake, "stop ") == []
    fake.replies["List"] = []  # never a reply
    assert bash_completes(fake, "stop ") == []
    fake.close()
    assert bash_completes(fake, "stop ") == []
