"""A real rsyslogd of the test's own: socket, file, work directory and process, nothing of the host's.

    with rsyslogd(tmp_path) as r:
        ...                     # something logs to r.socket
        r.wait_for("finish job=tea")
        r.lines()
"""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

DEADLINE = 20  # seconds; only a test that fails waits so long

CONFIG = """
global(workDirectory="{work}")
module(load="imuxsock" sysSock.use="off")
input(type="imuxsock" socket="{socket}" createPath="off" ruleset="to_file"
      rateLimit.interval="0" useSpecialParser="on" usePIDFromSystem="off")
template(name="fields" type="string" string="%syslogfacility-text%.%syslogseverity-text% %syslogtag%%msg%\\n")
ruleset(name="to_file") {{
    action(type="omfile" file="{output}" template="fields" asyncWriting="off" flushOnTXEnd="on")
}}
"""


def find_rsyslogd():
    """The daemon, which is not on an ordinary user's PATH."""
    program = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin:/sbin")
    assert program, "rsyslogd is not installed: make deps"
    return program


class Rsyslogd:
    """A running rsyslogd. `socket` is what /dev/log is elsewhere; lines are `daemon.info twistyd[1]: text`."""

    def __init__(self, directory):
        self.directory = directory
        self.socket = str(directory / "log.sock")
        self.output = directory / "output"
        self.config = directory / "rsyslog.conf"
        self.process = None
        self.config.write_text(CONFIG.format(work=directory, socket=self.socket, output=self.output))

    def start(self):
        """Start it, and wait until it takes messages."""
        command = [find_rsyslogd(), "-n", "-f", str(self.config), "-i", str(self.directory / "pid")]
        with open(self.directory / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
        deadline = time.monotonic() + DEADLINE
        while not self._answers():
            assert self.process.poll() is None, f"rsyslogd has ended: {self.complaints()}"
            assert time.monotonic() < deadline, f"rsyslogd does not answer: {self.complaints()}"
            time.sleep(0.01)

    def stop(self):
        """End it; what it has taken is in the file then."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None

    def lines(self):
        """What it has written so far."""
        text = self.output.read_bytes().decode(errors="surrogateescape") if self.output.exists() else ""
        return text.split("\n")[:-1]

    def wait_for(self, part, count=1):
        """Wait until `count` lines have `part` in them, and return all lines."""
        deadline = time.monotonic() + DEADLINE
        while sum(part in line for line in self.lines()) < count:
            assert time.monotonic() < deadline, f"no {part!r} in {self.lines()}; rsyslogd: {self.complaints()}"
            time.sleep(0.01)
        return self.lines()

    def complaints(self):
        return (self.directory / "stderr").read_text(errors="replace")

    def _answers(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            try:
                s.connect(self.socket)
            except OSError:
                return False
        return True


@contextlib.contextmanager
def rsyslogd(tmp_path):
    """A running Rsyslogd with its files in a directory below tmp_path."""
    # A socket's path is short; pytest's directories are not always.
    with tempfile.TemporaryDirectory(prefix="rsyslog-", dir=_short(tmp_path)) as directory:
        server = Rsyslogd(Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _short(tmp_path):
    return tmp_path if len(str(tmp_path)) < 70 else None
