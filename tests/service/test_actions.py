"""Actions in the unit's own sandbox: what they may do there, what the log has of them, and how they end."""

import re
import shutil
import time

import pytest

from harness import ROOT

EXAMPLES = ROOT / "systemd" / "examples"
DROP_IN = "/etc/systemd/system/twistyd.service.d/example.conf"
SCRIPT = "/usr/local/bin/act"

# A job whose end runs the script.
TEA = f"[action:act]\nexec = {SCRIPT}\n[job:tea]\nkind = once\non-finish = act\n"


def start(service, script):
    """The daemon, and the action with it."""
    service.machine.write(SCRIPT, f"#!/bin/sh\n{script}\n")
    service.machine.run("chmod", "755", SCRIPT)
    service.start(TEA)


def messages(service, word):
    """Entries of the journal, when the action has ended."""
    service.wait_message("action-failed job=tea ")
    return service.machine.journal(f"TWISTY_EVENT={word}", mark=service.begin)


def test_lines_and_failure_in_the_journal(service):
    start(service, "echo well; echo 'a \"b\"' >&2; exit 3")
    well, bad = messages(service, "output")
    (failed,) = messages(service, "action-failed")
    prefix = r"job=tea id=1 action=act "
    assert re.fullmatch(f'output {prefix}stdout="well"', well["MESSAGE"])
    assert re.fullmatch(f"output {prefix}" + r'stderr="a \\"b\\""', bad["MESSAGE"])
    assert re.match(f"action-failed {prefix}" + r'event=finish status=3 .*stderr="a \\"b\\""', failed["MESSAGE"])
    assert [e["PRIORITY"] for e in (well, bad, failed)] == ["6", "4", "3"]
    for entry in (well, bad, failed):
        assert [entry[f"TWISTY_{key}"] for key in ("JOB", "ID", "ACTION")] == ["tea", "1", "act"]
        assert entry["SYSLOG_IDENTIFIER"] == "twistyd" and entry["_SYSTEMD_UNIT"] == "twistyd.service"
    explained = service.machine.run("journalctl", "--catalog", f"--cursor={service.begin}",
                                    "TWISTY_ACTION=act").stdout
    assert explained.count("░░ Subject: Action act of timer job tea wrote a line\n") == 2
    assert explained.count("░░ Subject: Action act of timer job tea failed\n") == 1
    assert not re.search("@[A-Z_]+@", explained), "every field was filled in"
    assert service.state() == "active" and service.list()["tea"]["state"] == "finished"


# What an action may want to do, with nothing but the rights of the daemon's user; and what is left of it.
PIPES = "date | cat >/tmp/written && test -s /tmp/written"
TALKS = "python3 -c 'import socket as s; l = s.create_server((\"127.0.0.1\", 0)); s.create_connection(l.getsockname())'"
WRITES = "date >/home/drop/written"


def succeeds(service, command):
    start(service, f"{command} && echo done")
    service.wait_message("finish job=tea ")
    service.machine.shell("until journalctl --sync && twistyctl --json status | grep -q '\"running\": *0'; do :; done")
    said = service.messages("TWISTY_ACTION=act")
    service.restore()
    assert len([m for m in said if m.startswith("action-failed ") or m.endswith(' stdout="done"')]) == 1, said
    return said[-1].endswith(' stdout="done"')


@pytest.mark.parametrize("example, command", [(None, PIPES), ("network.conf", TALKS), ("home.conf", WRITES)],
                         ids=["sandbox", "network", "home"])
def test_what_actions_may_do(service, example, command):
    """In the unit's own sandbox, processes and their pipes; with a drop-in from the examples, that too."""
    machine = service.machine
    machine.shell("ip link set lo up; mkdir -p /home/drop; chown _twistyd /home/drop")
    assert succeeds(service, command) == (example is None)
    if example is None:
        return
    installed = machine.path(DROP_IN)
    installed.parent.mkdir(exist_ok=True)
    shutil.copy(EXAMPLES / example, installed)
    machine.run("systemctl", "daemon-reload")
    service.begin = machine.mark()
    try:
        assert succeeds(service, command)
    finally:
        installed.unlink()


# The end


def processes(service):
    """Those of the daemon's user."""
    return service.machine.run("ps", "-u", "_twistyd", "-o", "comm=", check=False).stdout.split()


def test_stop_ends_actions_that_do_not_want_to(service):
    """The daemon's stop-timeout, as it is built in, fits into the unit's TimeoutStopSec=; and nothing stays behind."""
    start(service, "setsid sleep 1000 &\ntrap '' TERM\necho begun\nwhile :; do sleep 0.1; done")
    service.wait_message('output job=tea id=1 action=act stdout="begun"')
    assert {"twistyd", "act", "sleep"} <= set(processes(service))
    began = time.monotonic()
    service.systemctl("stop")
    assert 5 <= time.monotonic() - began < 15
    assert processes(service) == []
    assert service.show("ActiveState", "Result", "ExecMainStatus", "ControlGroup") == {
        "ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "ControlGroup": ""}
    service.wait_message("twistyd.service: Deactivated successfully.")
    service.wait_message("exit why=SIGTERM ")
    said = service.messages("SYSLOG_IDENTIFIER=twistyd")
    assert [m.split()[0] for m in said[-2:]] == ["action-failed", "exit"] and " status=shutdown " in said[-2]
    assert not [m for m in service.messages() if "timed out" in m or "Killing" in m], "it was not for systemd to do"
