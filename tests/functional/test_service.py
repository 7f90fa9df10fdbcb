"""The service manager's side: readiness, status, reload, stop and watchdog, and sockets that it passes."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import stat
import subprocess
import sys
import time

import pytest

from harness import BUILD, Datagrams, grace, journal_fields
from varlink import DEADLINE, Client, VarlinkError

# A wrapper that gives the daemon a variable with its own pid in it.
OWN_PID = ("/bin/sh", "-c", 'variable=$1; shift; export "$variable=$$"; exec "$@"', "sh")

# A wrapper that is a service manager: it makes sockets, waits until `gate` can be read, and becomes the daemon.
ACTIVATE = """
import fcntl, os, socket, sys
kinds, path, gate, *command = sys.argv[1:]
passed = []
for i, kind in enumerate(kinds.split(",")):
    if kind == "file":
        fd = os.open("/dev/null", os.O_RDWR)
    else:
        family = socket.AF_INET if kind == "inet" else socket.AF_UNIX
        types = {"datagram": socket.SOCK_DGRAM, "seqpacket": socket.SOCK_SEQPACKET}
        s = socket.socket(family, types.get(kind, socket.SOCK_STREAM))
        s.bind(("127.0.0.1", 0) if kind == "inet" else path + str(i) if i else path)
        if kind not in ("datagram", "deaf"):
            s.listen(64)
        fd = s.detach()
    passed.append(fcntl.fcntl(fd, fcntl.F_DUPFD, 20))
for i, fd in enumerate(passed):
    os.dup2(fd, 3 + i)
open(gate).read()
os.closerange(3 + len(passed), 100)
os.environ.update(LISTEN_FDS=str(len(passed)), LISTEN_PID=str(os.getpid()))
os.execv(command[0], command)
"""


class Manager(Datagrams):
    """A service manager's socket; if it is the journal's too, then what it has got shows in which order both were."""

    def __init__(self, directory, abstract=False):
        self.env_value = f"@twistyd-{secrets.token_hex(8)}" if abstract else str(directory / "notify.sock")
        if not abstract:
            super().__init__(self.env_value)
            return
        super(Datagrams, self).__init__()
        self.path = self.env_value.replace("@", "\0", 1)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)

    def close(self):
        with contextlib.suppress(ValueError):  # an abstract name is no file
            super().close()

    def told(self):
        """(time, text) of all it was told; a line of the log begins with `log:`."""
        return [(at, text_of(data)) for at, data in self.all()]

    def texts(self):
        return [text for _, text in self.told()]

    def times(self, pattern):
        return [at for at, text in self.told() if re.match(pattern, text)]

    def wait_told(self, pattern, count=1, since=0):
        """Wait for the count-th text that begins with the pattern, after the first `since`; its index."""

        def find(items):
            hits = [i for i, (_, data) in enumerate(items) if i >= since and re.match(pattern, text_of(data))]
            return hits[count - 1 : count]

        hit = self.wait(find)
        assert hit, f"the manager was not told {pattern!r} ({count} times), only:\n" + "\n".join(self.texts())
        return hit[0]

    def send(self, data):
        """As a unit would, and without waiting; false when the queue is full."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(data, self.path)
            except BlockingIOError:
                return False
        return True

    def fill(self):
        """Until nobody's message fits any more; how many did."""
        n = 0
        while self.send(b"FILLER=1"):
            n += 1
        return n

    def texts_until_now(self):
        """All that was sent so far, for senders that have ended."""
        assert self.send(b"MARK=1")
        end = self.wait_told("MARK=1")
        return self.texts()[:end]


def text_of(data):
    if data.startswith(b"PRIORITY="):
        return "log: " + dict(journal_fields(data))["MESSAGE"].decode()
    return data.decode()


@pytest.fixture(name="manager")
def listening_manager(directory):
    manager = Manager(directory).start()
    yield manager
    manager.close()


@pytest.fixture(name="stuck_manager")
def manager_that_does_not_read(directory):
    manager = Manager(directory)
    yield manager
    manager.close()


@pytest.fixture(name="managed")
def managed_daemon(daemon):
    """A daemon with this manager, which gets its log as well."""

    def start(manager, config=None, env=None, **options):
        env = {"NOTIFY_SOCKET": manager.env_value, "TWISTYD_JOURNAL_SOCKET": manager.path, "TZ": "UTC", **(env or {})}
        return daemon(config, target="journal", env=env, ready=False, **options)

    return start


THREE_JOBS = "".join(f"[job:{name}]\nkind = countdown\ncount = 3\ninterval = 1h\n" for name in ("a", "b", "c"))


# Readiness


def test_ready_comes_when_everything_stands(manager, managed):
    d = managed(manager, THREE_JOBS)
    ready = manager.wait_told("READY=1")
    assert d.status()["jobs"]["live"] == 3
    before = [text.split(" id=")[0] for text in manager.texts()[:ready]]
    assert before[:3] == [f"log: start job={name}" for name in "abc"]
    assert re.fullmatch(r"log: ready .* jobs=3 backend=\w+ socket=" + re.escape(d.socket), before[3])
    assert len(before) == 4


def test_abstract_socket_of_the_manager(directory, daemon):
    manager = Manager(directory, abstract=True).start()
    d = daemon(env={"NOTIFY_SOCKET": manager.env_value})
    manager.wait_told("READY=1")
    manager.wait_told("STATUS=0 jobs$")
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    assert manager.texts_until_now() == ["READY=1", "STATUS=0 jobs", "STOPPING=1"]
    manager.close()


@pytest.mark.parametrize("where", ["relative", "/", "/nowhere/notify", "/" + "x" * 200, "@", "vsock:2:1"])
def test_manager_that_cannot_be_reached_is_no_hindrance(daemon, where):
    d = daemon(env={"NOTIFY_SOCKET": where})
    assert d.status()["pid"] == d.pid


def test_mistake_in_the_configuration_is_never_ready(manager, managed):
    d = managed(manager, "[job:tea]\nkind = teapot\n")
    assert d.wait_exit() == 78
    assert manager.texts_until_now() == []


def test_daemon_without_a_socket_is_never_ready(manager, managed, daemon):
    first = daemon()
    d = managed(manager, THREE_JOBS, socket_path=first.socket)
    assert d.wait_exit() == 69
    assert f"pid {first.pid}" in d.texts("another twistyd")[0]
    assert not [text for text in manager.texts_until_now() if not text.startswith("log: ")]


# STATUS=


def test_status_tells_jobs_and_the_next_deadline(manager, managed):
    d = managed(manager, "[defaults]\ninterval = 1h\n[job:late]\nkind = loop\nimmediate = no\n")
    manager.wait_told("READY=1")
    first = manager.wait_told("STATUS=")
    told = manager.texts()[first]
    due = d.list("late")["late"]["nextUsec"] / 1e6
    near = {time.strftime("STATUS=1 job, next is late at %F %T", time.gmtime(due + s)) for s in (-1, 0, 1)}
    assert told in near

    d.add({"name": "sooner", "kind": "once", "delay": "30min"})
    manager.wait_told(r"STATUS=2 jobs, next is sooner at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")
    d.call("Pause", {"match": ["*"]})
    manager.wait_told("STATUS=2 jobs$")
    d.call("Stop", {"match": ["*"]})
    manager.wait_told("STATUS=0 jobs$")


def test_status_is_told_at_most_once_a_second(manager, managed):
    d = managed(manager, "[job:fast]\nkind = loop\ninterval = 10ms\nreport = none\n")
    manager.wait_told("STATUS=1 job,")
    for i in range(20):
        d.add({"name": f"x{i}", "kind": "once", "delay": "1h"})
    manager.wait_told("STATUS=21 jobs, next is fast")
    manager.wait_told("STATUS=21 jobs, next is fast", count=2)  # for its seconds have changed
    times = manager.times("STATUS=")
    assert len(times) in (3, 4)
    assert min(b - a for a, b in zip(times, times[1:])) > 0.9


def quiet(manager, told, seconds):
    """For so long the manager is told nothing after the first `told`."""
    assert not manager.wait(lambda items: len(items) > told, deadline=seconds), manager.texts()[told:]


@pytest.mark.parametrize("config", [None, THREE_JOBS])
def test_idle_daemon_does_not_wake_up(manager, managed, config):
    d = managed(manager, config)
    manager.wait_told("STATUS=")
    d.add({"name": "done", "kind": "once"})
    d.call("Remove", {"match": ["done"]})
    d.add({"name": "far", "kind": "once", "delay": "1d"})
    manager.wait_told("STATUS=. jobs?, next is", since=manager.wait_told("log: start job=far"))
    told = len(manager.all())
    quiet(manager, told, 0.2)  # until it sleeps, after the last that it sent
    wakeups, used = d.proc_status("voluntary_ctxt_switches"), d.cpu_seconds()
    quiet(manager, told, 1.2)
    assert d.proc_status("voluntary_ctxt_switches") == wakeups
    assert d.cpu_seconds() == used  # nor does it never sleep


# Reload


@pytest.mark.parametrize("how", ["signal", "control"])
@pytest.mark.parametrize(
    "text, outcome",
    [(THREE_JOBS, "log: reload added=3"), ("nonsense", "log: reload error=")],
    ids=["taken", "refused"],
)
def test_reload_is_told_before_and_after(manager, managed, how, text, outcome):
    d = managed(manager, "")
    manager.wait_told("STATUS=0 jobs")
    d.config.write_text(text, encoding="utf-8")
    before = time.monotonic_ns() // 1000
    if how == "signal":
        d.signal(signal.SIGHUP)
    else:
        with contextlib.nullcontext() if text == THREE_JOBS else pytest.raises(VarlinkError):
            d.call("Reload")
    reloading = manager.wait_told("RELOADING=1")
    ready = manager.wait_told("READY=1", count=2)
    after = time.monotonic_ns() // 1000
    texts = manager.texts()
    assert before <= int(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", texts[reloading])[1]) <= after
    between = texts[reloading + 1 : ready]
    assert [line for line in between if line.startswith(outcome)], between
    assert all(line.startswith("log: ") for line in between)
    manager.wait_told("STATUS=3 jobs" if text == THREE_JOBS else "STATUS=0 jobs", since=ready)


# Stop


def stop_by_term(d):
    d.signal(signal.SIGTERM)


def stop_by_int(d):
    d.signal(signal.SIGINT)


def stop_by_control(d):
    d.call("Shutdown")


def stop_by_end_of_jobs(d):
    d.call("Stop", {"match": ["*"]})


@pytest.mark.parametrize("stop", [stop_by_term, stop_by_int, stop_by_control, stop_by_end_of_jobs])
def test_stop_is_told_first(manager, managed, stop):
    d = managed(manager, "[daemon]\nexit-when-done = yes\n" + THREE_JOBS)
    manager.wait_told("STATUS=3 jobs")
    stop(d)
    assert d.wait_exit() == 0
    texts = manager.texts_until_now()
    end = texts[texts.index("STOPPING=1") + 1 :]
    assert end[-1].startswith("log: exit why=")
    if stop is stop_by_end_of_jobs:
        assert len(end) == 1
    else:
        assert [line.split(" id=")[0] for line in end[:-1]] == [f"log: stop job={name}" for name in "abc"]
        assert not [text for text in texts[: -len(end)] if text.startswith("log: stop")]


# Watchdog

BUSY = "[job:busy]\nkind = loop\nrate = 100000\nmissed = burst\nreport = none\n"


@pytest.mark.parametrize("config", [None, BUSY], ids=["idle", "busy"])
def test_watchdog_hears_twice_an_interval(manager, managed, config):
    d = managed(manager, config, env={"WATCHDOG_USEC": "400000"}, wrapper=(*OWN_PID, "WATCHDOG_PID"))
    manager.wait_told("WATCHDOG=1", count=12)
    times = manager.times("WATCHDOG=1")[:12]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert 0.15 < statistics.median(gaps) < 0.25, gaps
    assert max(gaps) < 0.4 + grace(), gaps
    if config is BUSY:
        assert d.status()["ticks"] > 100_000  # of 220,000, on a machine that has other things to do


@pytest.mark.parametrize("env", [{"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "nonsense"}])
def test_watchdog_of_another_process_is_left_alone(manager, managed, env):
    managed(manager, env=env)
    manager.wait_told("STATUS=")
    quiet(manager, 3, 0.5)


# A manager that does not read


def test_manager_that_never_reads_blocks_nothing(stuck_manager, daemon):
    assert stuck_manager.fill() > 0
    d = daemon(
        "[job:tea]\nkind = loop\ncount = 5\ninterval = 100ms\n",
        env={"NOTIFY_SOCKET": stuck_manager.env_value, "WATCHDOG_USEC": "100000"},
    )
    finish = d.wait_for("^finish job=tea")
    assert finish.number("missed") == 0
    assert finish.at - d.lines("^tick job=tea")[0].at < 0.4 + grace()
    d.signal(signal.SIGHUP)
    d.wait_for("^reload ")
    d.signal(signal.SIGTERM)
    before = time.monotonic()
    assert d.wait_exit() == 0
    assert time.monotonic() - before < 1


def test_readiness_is_not_lost_in_a_full_queue(stuck_manager, daemon):
    fillers = stuck_manager.fill()
    d = daemon(env={"NOTIFY_SOCKET": stuck_manager.env_value, "WATCHDOG_USEC": "200000"})
    assert d.status()["pid"] == d.pid
    stuck_manager.start()
    stuck_manager.wait_told("WATCHDOG=1", count=2)
    assert stuck_manager.texts()[:fillers + 2] == ["FILLER=1"] * fillers + ["READY=1", "WATCHDOG=1"]


# Sockets from the service manager


class Activation:
    """The far side of the ACTIVATE wrapper."""

    def __init__(self, directory, kinds="stream"):
        self.path = str(directory / "passed.sock")
        self._gate = directory / "gate"
        os.mkfifo(self._gate, 0o666)
        os.chmod(self._gate, 0o666)
        self.wrapper = (sys.executable, "-c", ACTIVATE, kinds, self.path, str(self._gate))

    def go(self):
        """Let it become the daemon. Its sockets are there when this returns."""
        with open(self._gate, "w", encoding="utf-8"):
            pass

    def connect(self):
        """A client of a socket that was made, be it before or after go()."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                return Client(self.path)
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < deadline, "the wrapper makes no socket"
            time.sleep(0.01)


def assert_left_in_place(path):
    assert stat.S_ISSOCK(os.stat(path).st_mode), "the daemon has removed a socket that is not its own"
    assert not os.path.exists(path + ".lock")


def test_socket_of_systemd(daemon, directory):
    path = str(directory / "passed.sock")
    wrapper = ("systemd-socket-activate", "-l", path)
    d = daemon(wrapper=wrapper, socket_path=str(directory / "other.sock"), ready=False)
    d.wait_for("Listening on ")
    with Client(path) as client:
        assert client.call("Status")["status"]["socket"] == path
        assert d.wait_ready().fields["socket"] == path
        assert not os.path.exists(d.socket)
        client.call("Shutdown")
    assert d.wait_exit() == 0
    assert_left_in_place(path)


def test_connections_from_before_the_start_are_answered(daemon, directory):
    activation = Activation(directory)
    d = daemon(wrapper=activation.wrapper, ready=False)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(activation.connect()) for _ in range(20)]
        for i, client in enumerate(clients):
            client.send("Add", {"jobs": [{"name": f"job{i}", "kind": "once", "delay": "1h"}]})
        activation.go()
        for i, client in enumerate(clients):
            parameters, _ = client.receive()
            assert parameters["jobs"][0]["name"] == f"job{i}"
        assert clients[0].call("Status")["status"]["connections"] == 20
    d.wait_ready()
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    assert_left_in_place(activation.path)


def test_the_next_daemon_gets_the_same_socket(daemon, directory):
    """What systemd does on a restart: between two daemons the connections wait."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path = str(directory / "kept.sock")
        listener.bind(path)
        listener.listen(16)
        for _ in range(3):
            with Client(path) as client:
                client.send("Status")
                env = {**os.environ, "LISTEN_FDS": "1", "XDG_RUNTIME_DIR": str(directory)}
                process = start_with_fd(listener.fileno(), env)
                status, _ = client.receive()
                assert status["status"]["pid"] == process.pid
                client.call("Shutdown")
            assert process.wait(DEADLINE) == 0
        assert_left_in_place(path)


def start_with_fd(fd, env, command=(BUILD / "twistyd",), **options):
    """A daemon whose descriptor 3 is this one."""
    script = f'exec 3<&{fd}; export LISTEN_PID=$$; exec "$@"'
    command = ["/bin/bash", "-c", script, "bash", *map(str, command)]
    quietly = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=env, pass_fds=[fd], **quietly, **options)


def test_passed_socket_needs_no_place_of_its_own(directory):
    """As in twistyd.service: another user than root, without $XDG_RUNTIME_DIR and --socket."""
    program = shutil.copy(BUILD / "twistyd", directory / "twistyd")
    identity = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    env = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
    env["LISTEN_FDS"] = "1"
    path = str(directory / "passed.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(1)
        process = start_with_fd(listener.fileno(), env, [program], **identity)
    with process, Client(path) as client:
        assert client.call("Status")["status"]["socket"] == path
        client.call("Shutdown")
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("kinds", ["stream,stream", "datagram", "seqpacket", "deaf", "inet", "file"])
def test_other_descriptors_are_refused(daemon, directory, kinds):
    activation = Activation(directory, kinds)
    manager = Manager(directory).start()
    d = daemon(wrapper=activation.wrapper, env={"NOTIFY_SOCKET": manager.env_value}, ready=False)
    activation.go()
    assert d.wait_exit() == 1
    expected = "twistyd: the service manager passed something else than one listening Unix stream socket"
    assert d.texts() == [expected]
    assert manager.texts_until_now() == []
    assert not os.path.exists(d.socket)
    manager.close()


def test_descriptors_of_another_process_are_left_alone(daemon):
    d = daemon(env={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert d.status()["socket"] == d.socket


def test_group_of_the_passed_socket_decides(daemon, directory, as_user):
    """As twistyd.socket sets it up: members may add jobs, and nobody but root may end the daemon."""
    activation = Activation(directory)
    d = daemon(wrapper=activation.wrapper, ready=False)
    activation.connect().close()
    os.chown(activation.path, 0, 54399)
    os.chmod(activation.path, 0o666)  # so that it is the daemon that tells them apart
    d.socket = activation.path
    activation.go()
    with as_user(d, 54321, groups=[54399]) as member, as_user(d, 54321) as stranger:
        member.call("Add", {"jobs": [{"name": "mine", "kind": "once", "delay": "1h"}]})
        for client, method in ((member, "Shutdown"), (member, "Reload"), (stranger, "List")):
            with pytest.raises(VarlinkError) as refusal:
                client.call(method)
            assert refusal.value.name == "NotPermitted"
