"""
The only program of a container: process 1, no systemd, no shell, no /dev/log, no account, and a read-only root.

The image has the two programs, their libraries and a configuration; unshare(1) does what a container engine does.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import BUILD, LineReader, wait_until

SOCKET = "/run/twisty/control.sock"
CONFIG = "etc/twisty/twistyd.conf"
UID = "12345"  # of no account

# The root becomes read-only, but for /run; /dev has null and nothing else.
START = """
image=$1; shift
mount --bind "$image" "$image"
mount -t proc proc "$image/proc"
mount -t tmpfs -o mode=1777 tmpfs "$image/run"
mount --bind /dev/null "$image/dev/null"
mount -o remount,bind,ro "$image"
cd "$image"
exec chroot "$@"
"""

JOBS = "[job:beat]\nkind = loop\nrate = 50\n[job:slow]\nkind = loop\ninterval = 1h\n"


@pytest.fixture(name="image", scope="module")
def image_of_two_programs(tmp_path_factory):
    image = tmp_path_factory.mktemp("container") / "image"
    for name in ("usr/bin", "etc/twisty", "proc", "run", "dev"):
        (image / name).mkdir(parents=True)
    (image / "dev/null").touch()
    for name in ("twistyd", "twistyctl"):
        shutil.copy(BUILD / name, image / "usr/bin")
        listed = subprocess.run(["ldd", BUILD / name], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            target = image / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    for path in (image, image.parent, image.parent.parent):
        path.chmod(0o755)
    return image


class Container:
    """One that runs `twistyd ARGUMENTS` as process 1."""

    def __init__(self, image, *arguments, unshare=(), chroot=(f"--userspec={UID}:{UID}",)):
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *unshare, "sh", "-euc", START, "sh", image,
                   *chroot, image, "/usr/bin/twistyd", "--socket", SOCKET, *arguments]
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write_end, stderr=write_end, env={})
        os.close(write_end)
        self.output = LineReader(read_end)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def texts(self):
        return [line.text for line in self.output.all()]

    def wait_for(self, pattern):
        found = self.output.wait(lambda lines: [line for line in lines if re.search(pattern, line.text)])
        assert found, "\n".join(self.texts())

    @property
    def first(self):
        """Its process 1, seen from outside."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii"))

    def processes(self):
        """Names and states of all its processes by the pid inside, but for the first one's."""
        found = {}
        children = Path(f"/proc/{self.first}/task/{self.first}/children").read_text(encoding="ascii").split()
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may have gone since it was listed
                text = Path(f"/proc/{child}/status").read_text(encoding="ascii")
                name, state = re.search(r"^Name:\s*(\S+)$.*^State:\s*(\S)", text, re.MULTILINE | re.DOTALL).groups()
                found[int(child)] = (name, state)
        return found

    def enter(self, *command, image=True):
        """Run something in it, as the engine's `exec` does; without the image, a program of this machine."""
        inside = ["--mount", "--root", "--wd"] if image else []
        return subprocess.run(["nsenter", f"--target={self.first}", "--pid", *inside, f"--setuid={UID}",
                               f"--setgid={UID}", *command], capture_output=True, text=True, timeout=20, check=False)

    def health(self):
        """The exit status of the health check that README has."""
        return self.enter("/usr/bin/twistyctl", "--socket", SOCKET, "status").returncode

    def end(self):
        status = self.process.wait(20)
        self.output.wait_end()
        return status


@pytest.fixture(name="container")
def started_container(image):
    (image / CONFIG).write_text(JOBS, encoding="utf-8")
    with Container(image) as container:
        container.wait_for("^ready ")
        yield container


def test_reports_on_stderr(container):
    container.wait_for("^tick job=beat ")
    assert container.texts()[0].startswith("start job=beat id=1 kind=loop rate=50/s "), "and without a prefix"
    status = Path(f"/proc/{container.first}/status").read_text(encoding="ascii")
    assert re.search(rf"^Uid:\s+{UID}\b", status, re.MULTILINE) and re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE)
    assert os.statvfs(f"/proc/{container.first}/root/etc").f_flag & os.ST_RDONLY
    listed = container.enter("/usr/bin/twistyctl", "--socket", SOCKET, "list")
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["beat", "slow"], listed.stderr


def test_health_check(container):
    """Of the daemon, and --check of the configuration."""
    assert container.health() == 0
    check = container.enter("/usr/bin/twistyd", "--check")
    assert (check.returncode, check.stdout) == (0, "/etc/twisty/twistyd.conf: ok, 2 jobs\n")
    (daemon,) = container.processes()
    os.kill(daemon, signal.SIGSTOP)
    hanging = subprocess.run(["timeout", "0.5", "nsenter", f"--target={container.first}", "--mount", "--root", "--wd",
                              "/usr/bin/twistyctl", "--socket", SOCKET, "status"], check=False)
    assert hanging.returncode == 124, "that a daemon hangs is told by the check's timeout"
    os.kill(daemon, signal.SIGCONT)
    assert container.health() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_to_process_1(container, number):
    os.kill(container.first, signal.SIGHUP)
    container.wait_for("^reload .* unchanged=2")
    os.kill(container.first, number)
    assert container.end() == 0
    assert container.texts()[-1].startswith(f"exit why={number.name} ")


def test_orphans_do_not_pile_up(container):
    """Those of others, as somebody's `exec` leaves them: no zombie stays."""
    assert [name for name, _ in container.processes().values()] == ["twistyd"]
    for _ in range(5):
        assert container.enter("sh", "-c", "sleep 1 >/dev/null 2>&1 & sleep 1 >/dev/null 2>&1 &", image=False).returncode == 0
    assert len(container.processes()) > 1, "they are given to process 1"
    wait_until(lambda: [name for name, _ in container.processes().values()] == ["twistyd"])
    assert container.health() == 0


def test_daemon_that_dies_ends_the_container(container):
    (daemon,) = container.processes()
    os.kill(daemon, signal.SIGKILL)
    assert container.end() == 128 + signal.SIGKILL


def test_exit_status_is_the_daemons(image):
    (image / CONFIG).write_text("[daemon]\nexit-when-done = yes\n[job:x]\nkind = once\n", encoding="utf-8")
    with Container(image) as container:
        assert container.end() == 0
        assert container.texts()[-1].startswith("exit why=done ")
    (image / CONFIG).write_text("[job:x]\nkind = teapot\n", encoding="utf-8")
    for arguments in ((), ("--check",)):
        with Container(image, *arguments) as container:
            assert container.end() == 78
            assert container.texts()[0].startswith("/etc/twisty/twistyd.conf:2: job:x: kind: 'teapot' ")


def test_user_namespace(image):
    """Without root outside: who is root inside is an ordinary user for the kernel."""
    (image / CONFIG).write_text(JOBS, encoding="utf-8")
    with Container(image, unshare=("--user", "--map-root-user"), chroot=()) as container:
        container.wait_for("^ready ")
        begun = time.monotonic()
        os.kill(container.first, signal.SIGTERM)
        assert container.end() == 0 and time.monotonic() - begun < 5
