"""Installing over a running older twistyd, and taking it away again."""

import os
import threading
import time
from pathlib import Path

from harness import BUILD
from machine import wait_until
from service import Service
from varlink import Closed

OLDER = BUILD / "older"
OLDER_VERSION = "0.0.9"

JOBS = "".join(f"[job:job-{i}]\nkind = loop\ninterval = 1h\n" for i in range(50))

# By systemd-sysusers, whose users stay, and by journalctl.
MADE_BY_OTHERS = {f"etc/{name}{old}" for name in ("passwd", "group", "shadow", "gshadow") for old in ("", "-")}
MADE_BY_OTHERS |= {"etc/.pwd.lock", "var/lib/systemd/catalog/database"}


class Crowd:
    """Clients that come one after another, each with one question, until the end of the block."""

    def __init__(self, service, size=4):
        self.service = service
        self.replies = []  # the versions that answered
        self.failures = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._come_and_go) for _ in range(size)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _come_and_go(self):
        while not self._over.is_set():
            try:
                status = self.service.call("Status")["status"]
                self.replies.append((status["version"], status["jobs"]["live"]))
            except (OSError, Closed) as failure:
                self.failures.append(repr(failure))
            time.sleep(0.002)  # the machine has other things to do


def test_upgrade(fresh_machine):
    """As README says it: nobody is refused, and the jobs of the configuration go on."""
    fresh_machine.make("install", OLDER)
    Service.set_up(fresh_machine)
    service = Service(fresh_machine)
    service.configure(JOBS)
    fresh_machine.run("systemctl", "enable", "--now", "twistyd.socket", "twistyd.service")
    assert service.call("Status")["status"]["version"] == OLDER_VERSION
    service.ctl("add", "loop", "--interval", "1h", "--name", "added")
    with Crowd(service) as crowd:
        wait_until(lambda: len(crowd.replies) > 100, "there are clients")
        fresh_machine.make("install")
        fresh_machine.shell("systemctl daemon-reload; systemctl restart twistyd.service")
        done = len(crowd.replies)
        wait_until(lambda: len(crowd.replies) > done + 100, "there are clients of the new one")
    assert not crowd.failures
    versions = [version for version, _ in crowd.replies]
    assert set(versions) == {OLDER_VERSION, fresh_machine.run("twistyctl", "--version").stdout.split()[1]}
    assert {live for _, live in crowd.replies} == {51}, "each daemon has all jobs when it answers"
    assert service.show("NRestarts", "ActiveState") == {"NRestarts": "0", "ActiveState": "active"}


def changed(machine):
    """The files that the machine has changed or made, but for logs and the like."""
    passing = ("run", "tmp", "var/tmp", "var/log")
    found = set()
    for directory, names, plain in os.walk(machine.changes):
        paths = [Path(directory, name) for name in (*names, *plain)]
        found.update(str(p.relative_to(machine.changes)) for p in paths if not p.is_char_device())  # one is a deletion
    return {path for path in found if not path.startswith(passing)}


def test_uninstall_leaves_configuration_and_state(fresh_machine):
    """As README says it. The users are left too, so that nobody else gets their numbers."""
    before = changed(fresh_machine)
    fresh_machine.make("install")
    Service.set_up(fresh_machine)
    fresh_machine.run("systemctl", "enable", "--now", "twistyd.socket", "twistyd.service")
    fresh_machine.run("systemctl", "--global", "enable", "twistyd.socket")
    fresh_machine.run("twistyctl", "add", "once")
    fresh_machine.run("systemctl", "--global", "disable", "twistyd.socket")
    fresh_machine.run("systemctl", "disable", "--now", "twistyd.service", "twistyd.socket")
    fresh_machine.make("uninstall")
    fresh_machine.shell("systemctl daemon-reload; journalctl --update-catalog")
    left = {path for path in changed(fresh_machine) - before if (fresh_machine.changes / path).is_file()}
    assert {path for path in left - MADE_BY_OTHERS if not path.startswith("var/lib/twisty/")} == {
        "etc/twisty/twistyd.conf"}
    assert "var/lib/twisty/state.db" in left
    assert "twisty" not in fresh_machine.run("systemctl", "list-unit-files").stdout
    assert "twisty" not in fresh_machine.run("journalctl", "--list-catalog").stdout
    assert not fresh_machine.path("/run/twisty/control.sock").exists()
