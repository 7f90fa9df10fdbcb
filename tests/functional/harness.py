"""Real daemons for tests: each in its own directory, with its own socket, and with every line it says timed.

A Daemon is made by the `daemon` fixture (conftest.py), which also ends it and looks for what must not have happened.
"""

import collections
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

from varlink import DEADLINE, Client

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(ROOT, os.environ.get("TWISTY_BUILD", "build")).resolve()
EXAMPLES = ROOT / "conf" / "examples"

ADD_MAX = 1000  # jobs that one Add() takes

LATE = 0.35  # seconds that a line may come late on a machine with nothing else to do; none may come early

SANITIZER = re.compile(r"(Address|Leak|UndefinedBehavior|Memory|Thread)Sanitizer|runtime error:")
STATUSES = {0, 1, 64, 69, 78}  # those that twistyd(8) knows
FIELD = re.compile(r'([a-z-]+)=("((?:[^"\\]|\\.)*)"|[^ ]*)')


def grace():
    """How late a line may come here and now: a machine with other things to do gives everybody a smaller share."""
    one_minute, _, _, running, _ = Path("/proc/loadavg").read_text(encoding="ascii").split()
    return LATE * max(1, (float(one_minute) + int(running.split("/")[0])) / os.cpu_count())


def wait_until(condition, patience=DEADLINE):
    """Wait until condition() is true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.005)


class Line(collections.namedtuple("Line", "at text")):
    """A line of the log: when it arrived (time.monotonic) and what it says."""

    @property
    def word(self):
        return self.text.partition(" ")[0]

    @property
    def fields(self):
        """logfmt, with quotes taken off and escapes as they are."""
        return {m[1]: m[2] if m[3] is None else m[3] for m in FIELD.finditer(self.text)}

    def number(self, key):
        return int(self.fields.get(key, 0))


class Collector:
    """What arrives on a descriptor, read in a thread of its own, so that arrival times are true."""

    def __init__(self):
        self._lines = []
        self._changed = threading.Condition()
        self._ended = False

    def add(self, *items):
        with self._changed:
            self._lines.extend(items)
            self._changed.notify_all()

    def end(self):
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def all(self):
        with self._changed:
            return list(self._lines)

    def wait(self, done, deadline=DEADLINE):
        """Wait until done(items) is true, and return what it returned; false at the end or the deadline."""
        until = time.monotonic() + deadline
        with self._changed:
            while not (result := done(self._lines)):
                left = until - time.monotonic()
                if self._ended or left <= 0:
                    return result
                self._changed.wait(left)
            return result

    def wait_end(self, deadline=DEADLINE):
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, deadline)


class LineReader(Collector):
    """Lines of text from a pipe."""

    def __init__(self, fd):
        super().__init__()
        self._fd = fd
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        while data := os.read(self._fd, 1 << 16):
            now = time.monotonic()
            *lines, rest = (rest + data).split(b"\n")
            self.add(*(Line(now, line.decode(errors="surrogateescape")) for line in lines))
        if rest:
            self.add(Line(time.monotonic(), rest.decode(errors="surrogateescape")))
        os.close(self._fd)
        self.end()


class Datagrams(Collector):
    """A receiver of log datagrams. It reads nothing until start(): a receiver that is stuck."""

    def __init__(self, path):
        super().__init__()
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        os.chmod(self.path, 0o666)

    def start(self):
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self):
        with contextlib.suppress(OSError):
            while True:
                data = self._socket.recv(1 << 20)
                if not data:
                    break
                self.add((time.monotonic(), data))

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def records(self):
        """As the journal's native protocol: a list of (name, value) pairs for each."""
        return [journal_fields(data) for _, data in self.all()]

    def messages(self):
        return [dict(record)["MESSAGE"].decode() for record in self.records()]

    def wait_message(self, pattern, count=1, deadline=DEADLINE):
        """Wait for `count` records whose MESSAGE has the pattern; those records as dicts."""

        def found(items):
            records = [dict(journal_fields(data)) for _, data in items]
            hits = [r for r in records if re.search(pattern, r["MESSAGE"].decode())]
            return hits if len(hits) >= count else None

        hits = self.wait(found, deadline)
        assert hits, f"the journal got no {pattern!r}, only:\n" + "\n".join(self.messages())
        return hits


def journal_fields(data):
    """https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: NAME=value, or NAME, a length and the value."""
    fields, at = [], 0
    while at < len(data):
        end = data.index(b"\n", at)
        line = data[at:end]
        if b"=" in line:
            name, _, value = line.partition(b"=")
            at = end + 1
        else:
            name = line
            (length,) = struct.unpack_from("<Q", data, end + 1)
            start = end + 1 + 8
            value = data[start : start + length]
            assert data[start + length : start + length + 1] == b"\n", "a field does not end with a newline"
            at = start + length + 1
        fields.append((name.decode(), value))
    return fields


class Daemon:
    """One twistyd."""

    def __init__(self, directory, *, config=None, config_path=None, args=(), target="stderr", env=None, user=None,
                 wrapper=(), socket_path=None, stderr=None):
        self.directory = Path(directory)
        self.socket = str(socket_path or self.directory / "run" / "control.sock")
        self.config = config_path
        if config is not None:
            self.config = self.directory / "twistyd.conf"
            self.config.write_text(config, encoding="utf-8")
        self.may_die = False  # set by a test that kills it
        program = BUILD / "twistyd"
        assert program.exists(), f"{program} is missing: make"
        if user is not None:  # who may not be able to reach the build directory
            os.chown(self.directory, user, user)
            program = shutil.copy(program, self.directory / "twistyd")
        command = [*wrapper, str(program), "--socket", self.socket]
        if self.config is not None:
            command += ["-c", str(self.config)]
        if target is not None:
            command += ["--log-target", target]
        self.command = [*command, *map(str, args)]
        if self.command[0] == "strace":  # beside a tracer the sanitizer cannot look for leaks
            env = {"ASAN_OPTIONS": "detect_leaks=0", **(env or {})}
        self.output = None
        self.pid = None
        self._start(env, user, stderr)

    def _start(self, env, user, stderr):
        identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        environment = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")}
        environment["XDG_RUNTIME_DIR"] = str(self.directory)
        environment.update(env or {})
        read_end, write_end = os.pipe()
        self.spawned = time.monotonic()
        self.process = subprocess.Popen(self.command, cwd=self.directory, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=write_end, stderr=stderr or write_end, **identity)
        os.close(write_end)
        self.pid = self.process.pid
        self.output = LineReader(read_end)

    # What it says

    def lines(self, pattern=""):
        """The lines so far that have the pattern (a regular expression)."""
        return [line for line in self.output.all() if re.search(pattern, line.text)]

    def texts(self, pattern=""):
        return [line.text for line in self.lines(pattern)]

    def wait_for(self, pattern, count=1, deadline=DEADLINE):
        """Wait for the count-th line that has the pattern, and return it."""

        def found(lines):
            hits = [line for line in lines if re.search(pattern, line.text)]
            return hits[count - 1] if len(hits) >= count else None

        line = self.output.wait(found, deadline)
        assert line, f"twistyd did not say {pattern!r} ({count} times):\n{self.transcript()}"
        return line

    def wait_ready(self):
        """Wait for the line that says it runs; also under a wrapper its own pid is known from here on."""
        line = self.wait_for("^ready ")
        self.pid = line.number("pid")
        return line

    def wait_socket(self):
        """Wait until it answers: for a daemon whose `ready` goes elsewhere than to its stderr."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                return self.status()
            except (FileNotFoundError, ConnectionRefusedError):
                assert self.process.poll() is None and time.monotonic() < deadline, self.transcript()
            time.sleep(0.01)

    def transcript(self):
        """Everything it said, with times since it was started, and how it ended."""
        said = "\n".join(f"{line.at - self.spawned:8.3f} {line.text}" for line in self.output.all())
        status = self.process.poll()
        end = "still runs" if status is None else f"ended with status {status}"
        return f"$ {' '.join(self.command)}\n{said}\n({end})"

    # Talking to it

    def connect(self, **options):
        return Client(self.socket, **options)

    def call(self, method, parameters=None):
        """One call on a connection of its own."""
        with self.connect() as client:
            return client.call(method, parameters)

    def add(self, *specs, **options):
        """Add jobs; each as the interface's JobSpec. Returns the Jobs. More than one call takes are added in several."""
        batches = [list(specs[i : i + ADD_MAX]) for i in range(0, len(specs), ADD_MAX)] or [[]]
        with self.connect() as client:
            return [job for batch in batches for job in client.call("Add", {"jobs": batch, **options})["jobs"]]

    def list(self, *match, **options):
        """The Jobs by name."""
        parameters = {"match": list(match), **options} if match else options
        with self.connect() as client:
            replies = list(client.stream("List", parameters))
        return {job["name"]: job for reply in replies for job in reply["jobs"]}

    def status(self, **parameters):
        return self.call("Status", parameters)["status"]

    def ctl(self, *args, check=True):
        """Run twistyctl on this daemon's socket; a CompletedProcess with text."""
        command = [str(BUILD / "twistyctl"), "--socket", self.socket, *map(str, args)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        if check:
            assert result.returncode == 0, f"{command} exits with {result.returncode}: {result.stderr}"
        return result

    # Its process

    def signal(self, number):
        os.kill(self.pid, number)

    @contextlib.contextmanager
    def stalled(self, seconds):
        """Stop the process, and let it go on when so much time has gone by."""
        began = time.monotonic()
        self.signal(signal.SIGSTOP)
        try:
            yield
            time.sleep(max(0, began + seconds - time.monotonic()))
        finally:
            self.signal(signal.SIGCONT)

    def cpu_seconds(self):
        """Processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def proc_status(self, key):
        """A number of /proc/PID/status."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return int(re.search(rf"^{key}:\s*(\d+)", text, re.MULTILINE)[1])

    def wait_exit(self, deadline=DEADLINE):
        """Wait for its end, with all its output read; the exit status."""
        try:
            status = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"twistyd does not end:\n{self.transcript()}") from None
        assert self.output.wait_end(), "somebody else holds the daemon's stderr"
        return status

    def wait_quiet(self):
        """Wait until it sleeps and has slept for a moment: what there was to do is done."""
        deadline = time.monotonic() + DEADLINE
        wakes, since = None, time.monotonic()
        while time.monotonic() < since + 0.2:
            assert time.monotonic() < deadline, f"it does not come to rest:\n{self.transcript()}"
            now = self.proc_status("voluntary_ctxt_switches")
            if now != wakes:
                wakes, since = now, time.monotonic()
            time.sleep(0.01)

    def kill(self):
        """End it without a chance to clean up."""
        self.may_die = True
        self.signal(signal.SIGKILL)
        self.wait_exit()

    def end(self):
        """At the end of a test: stop it if it still runs, and say what was wrong with it; None when nothing."""
        wrong = None
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.wait_exit()
            except AssertionError:
                self.signal(signal.SIGKILL)
                self.process.wait()
                wrong = "twistyd did not end on SIGTERM"
        status = self.process.returncode
        if SANITIZER.search("\n".join(self.texts())):
            wrong = "twistyd's stderr has a sanitizer's report"
        elif status not in STATUSES and not self.may_die:
            wrong = wrong or f"twistyd ended with status {status}"
        return wrong


def other_user(daemon_uid=0):
    """The number of a user who is nobody here, and not the daemon's."""
    return 54321 if daemon_uid != 54321 else 54322


@contextlib.contextmanager
def identity(uid, gid, groups=()):
    """Be somebody else for the kernel for a moment; sockets connected now have that user's credentials for good."""
    before = os.getgroups()
    os.setgroups(list(groups))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)
