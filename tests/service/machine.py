"""A real systemd, booted as PID 1 of a container, that shares this machine's files and keeps its own changes in memory.

    with Machine("name") as machine:
        machine.run("systemctl", "start", "twistyd")
        machine.journal("_SYSTEMD_UNIT=twistyd.service")

The tests run in mount and pid namespaces of their own (service.mk): however they end, nothing of a machine is left.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from harness import BUILD, ROOT

DEADLINE = 30  # seconds; only a test that fails waits so long
QUIET = 0.02  # seconds between two looks at a condition that lies inside the machine

UNITS = ("twistyd.service", "twistyd.socket")
SOCKET = "/run/twisty/control.sock"
CONFIG = "/etc/twisty/twistyd.conf"

# What the host has of its own, and a fresh Debian has not.
OF_THE_HOST = (
    "etc/systemd/system",
    "etc/systemd/user",
    "etc/systemd/journald.conf.d",
    "etc/twisty",
    "etc/fstab",
    "var/log",
    "var/lib/systemd/linger",
)
# That packages must not start services, and that each of them makes an index of all manuals.
NOT_WANTED = ("usr/sbin/policy-rc.d", "var/lib/man-db/auto-update")
MASKED = ("console-getty.service", "systemd-tmpfiles-clean.timer", "systemd-update-utmp.service")

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
               "HOME": "/root", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}


def wait_until(condition, what, deadline=DEADLINE):
    """Wait until condition() is true, and return what it returned."""
    until = time.monotonic() + deadline
    while not (result := condition()):
        assert time.monotonic() < until, f"in {deadline} s it did not come true that {what}"
        time.sleep(QUIET)
    return result


def command_output(command, check, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, **options)
    if check:
        assert result.returncode == 0, (
            f"{' '.join(map(str, command))}\nends with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result


class ControlGroup:
    """A group of its own in each hierarchy that systemd uses, so that two machines do not share one."""

    def __init__(self, name):
        self.directories = []
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            for mount in {"name=systemd": ("systemd",), "": ("unified", "")}.get(controllers, ()):
                top = Path("/sys/fs/cgroup", mount)
                if (top / "cgroup.procs").exists():
                    self.directories.append(top / path.lstrip("/") / name)
                    break
        for directory in self.directories:
            directory.mkdir()

    def enter(self):
        """For a child before it becomes another program."""
        for directory in self.directories:
            (directory / "cgroup.procs").write_text("0", encoding="ascii")

    def remove(self):
        for top in self.directories:
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)


class Machine:
    """The container. `root` is where its files are seen from outside, `changes` has those that are not this machine's."""

    def __init__(self, name):
        self.name = name
        self.base = Path(tempfile.mkdtemp(prefix=f"twisty-{name}-"))
        self.root = self.base / "root"
        self.changes = self.base / "changes"
        self.leader = None
        self._nspawn = None
        self._cgroup = None

    def __enter__(self):
        try:
            self._lay_out()
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.power_off()
        for mount in (self.root, self.base):
            subprocess.run(["umount", "--quiet", str(mount)], check=False)
        shutil.rmtree(self.base, ignore_errors=True)

    # Making it

    def _lay_out(self):
        command_output(["mount", "-t", "tmpfs", "-o", "mode=755,size=2G", "tmpfs", self.base], check=True)
        work = self.base / "work"
        for directory in (self.changes, work, self.root):
            directory.mkdir()
        layers = f"lowerdir=/,upperdir={self.changes},workdir={work}"
        command_output(["mount", "-t", "overlay", "-o", layers, "overlay", self.root], check=True)
        for path in OF_THE_HOST:
            self._empty(self.root / path)
        for path in NOT_WANTED:
            (self.root / path).unlink(missing_ok=True)
        self.write("/etc/machine-id", uuid.uuid4().hex + "\n")
        self.write("/etc/hostname", "vm\n")
        for unit in MASKED:
            (self.root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        (self.root / "var/log/journal").mkdir()
        self.write("/etc/systemd/journald.conf.d/tests.conf", "[Journal]\nSystemMaxUse=1G\n")  # room for a burst
        self._lay_out_syslog()
        self.make("uninstall")  # what the host may have installed

    @staticmethod
    def _empty(path):
        if path.is_dir():
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        elif path.exists():
            path.write_bytes(b"")

    def _lay_out_syslog(self):
        """Debian's chain, but for the kernel's log: that is the host's, and cannot be read here."""
        config = self.root / "etc/rsyslog.conf"
        lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
        config.write_text("".join(line for line in lines if "imklog" not in line), encoding="utf-8")
        self.enable("rsyslog.service", "multi-user.target")
        (self.root / "etc/systemd/system/syslog.service").symlink_to("/lib/systemd/system/rsyslog.service")

    def enable(self, unit, target):
        wants = self.root / "etc/systemd/system" / f"{target}.wants"
        wants.mkdir(exist_ok=True)
        (wants / unit).symlink_to(f"/lib/systemd/system/{unit}")

    # Its life

    def boot(self):
        """Start it, and wait until it has come up."""
        self._cgroup = ControlGroup(f"twisty-{self.name}-{os.getpid()}-{time.monotonic_ns()}")
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network",
                   "--resolv-conf=off", "--timezone=off", "--link-journal=no", f"--machine={self.name}",
                   f"--directory={self.root}", "--boot"]
        with open(self.base / "console", "ab") as console:
            self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                                            preexec_fn=self._cgroup.enter, start_new_session=True)
        wait_until(self._find_leader, "the container has an init")
        wait_until(lambda: self.run("systemctl", "is-system-running", check=False).stdout == "running\n",
                   "the machine is up")

    def _find_leader(self):
        assert self._nspawn.poll() is None, f"it does not boot:\n{self.console()}"
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text(encoding="ascii")
        for child in children.split():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{child}/exe").endswith("/systemd"):
                    self.leader = int(child)
                    return True
        return False

    def power_off(self):
        """Shut it down in order; by force if it does not."""
        if self._nspawn is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.leader or self._nspawn.pid, signal.SIGRTMIN + 4 if self.leader else signal.SIGTERM)
        try:
            self._nspawn.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader or self._nspawn.pid, signal.SIGKILL)
            self._nspawn.wait(DEADLINE)
            raise
        finally:
            self._nspawn = self.leader = None
            self._cgroup.remove()

    def reboot(self):
        """All processes end in order and everything in memory is gone, as when the power comes back."""
        self.power_off()
        self.boot()

    def console(self):
        path = self.base / "console"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # In it

    def command(self, *command, user=None, env=None):
        """The command line, outside, of a command inside; as this user, with the groups that the user has."""
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        variables = [f"{k}={v}" for k, v in {**ENVIRONMENT, **(env or {})}.items()]
        return ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                "--wdns=/", "env", "-i", *variables, *as_user, *map(str, command)]

    def run(self, *command, check=True, user=None, env=None, **options):
        """Run a command in it, as root or as this user."""
        return command_output(self.command(*command, user=user, env=env), check, **options)

    def shell(self, script, **options):
        """Run lines of shell, as an administrator types them."""
        return self.run("bash", "-euc", script, **options)

    def path(self, path):
        """Where to find a file from outside; those in /run too, which belongs to the running system only."""
        return Path(f"/proc/{self.leader}/root", path.lstrip("/"))

    def write(self, path, text):
        """Write a file, readable for all."""
        inside = self.path(path) if self.leader else self.root / path.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(text, encoding="utf-8")

    def make(self, target, build=BUILD, *variables):
        """Call `make install` or the like, as a packager does, with what is built already."""
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        return command_output(["make", "-s", "-C", ROOT, "-o", "all", target, f"B={build}", f"DESTDIR={self.root}",
                               *variables], check=True, env=env)

    def show(self, unit, *properties):
        """Properties of a unit, by name."""
        lines = self.run("systemctl", "show", unit, *(f"--property={p}" for p in properties)).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def state(self, unit):
        return self.show(unit, "ActiveState")["ActiveState"]

    def wait_state(self, unit, *states):
        return wait_until(lambda: self.state(unit) in states, f"{unit} is {' or '.join(states)}")

    # Its journal

    def mark(self):
        """A new entry, as a place in the journal: its cursor."""
        identifier = f"mark-{uuid.uuid4().hex}"
        self.run("systemd-cat", f"--identifier={identifier}", "echo", "here")
        found = wait_until(lambda: self._journalctl("json", None, f"SYSLOG_IDENTIFIER={identifier}"), "it is marked")
        return json.loads(found)["__CURSOR"]

    def _journalctl(self, output, mark, *matches):
        # Not --after-cursor: journalctl 252 then also skips the first entry that matches.
        place = [f"--cursor={mark}"] if mark else []
        return self.run("journalctl", f"--output={output}", "--all", *place, *matches).stdout

    def journal(self, *matches, mark=None):
        """Entries as dicts, those from this mark on."""
        return [json.loads(line) for line in self._journalctl("json", mark, *matches).splitlines()]

    def messages(self, *matches, mark=None):
        return self._journalctl("cat", mark, *matches).splitlines()
