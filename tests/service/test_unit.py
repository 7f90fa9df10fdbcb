"""The unit from start to end: users, readiness, status, reload, stop, watchdog, sandbox."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from machine import CONFIG

HOUR = "kind = loop\ninterval = 1h\nimmediate = no\n"
PAIR = f"[job:one]\n{HOUR}[job:two]\n{HOUR}"


# Users


def test_users_are_made(machine):
    name, _, uid, gid, _, home, shell = machine.run("getent", "passwd", "_twistyd").stdout.rstrip("\n").split(":")
    assert int(uid) < 1000 and int(gid) < 1000, "a system user"
    assert home == "/" and shell.endswith("/nologin")
    assert re.match(r"twisty:[^:]*:\d+:", machine.run("getent", "group", "twisty").stdout)
    assert machine.run("id", "-nG", name).stdout == "_twistyd\n", "the daemon is not in the socket's group"


def test_daemon_and_socket_belong_to_them(service):
    service.start()
    process = service.machine.run("ps", "-o", "user:20=,group:20=,comm=", service.show("MainPID")["MainPID"])
    assert process.stdout.split() == ["_twistyd", "_twistyd", "twistyd"]
    assert service.machine.run("stat", "-c", "%U %G %a", "/run/twisty/control.sock").stdout == "root twisty 660\n"


# Start


def test_active_means_ready(service):
    """The unit is `activating` until the daemon says that it is ready, and no longer."""
    gate = service.machine.path("/run/gate")
    service.drop_in("[Service]\nExecStart=\n"
                    "ExecStart=/bin/sh -c 'until [ -e /run/gate ]; do sleep 0.02; done; exec /usr/sbin/twistyd'\n")
    service.systemctl("start", "--no-block")
    service.wait_state("activating")
    time.sleep(0.3)
    assert service.state() == "activating"
    gate.touch()
    service.wait_state("active")
    gate.unlink()
    service.wait_message("ready version=")
    assert service.show("NotifyAccess", "Type") == {"NotifyAccess": "main", "Type": "notify"}


def test_mistake_in_the_configuration(service):
    """No restart in circles; and the way back that README tells."""
    service.configure("[job:tea]\nkind = teapot\n")
    refusal = service.systemctl("start", check=False)
    assert refusal.returncode != 0
    assert service.show("Result", "ExecMainStatus", "NRestarts") == {
        "Result": "exit-code", "ExecMainStatus": "78", "NRestarts": "0"}
    assert service.state() == "failed"
    service.wait_message(f"{CONFIG}:2: job:tea: kind: 'teapot' is not one of")
    for _ in range(30):
        answer = service.ctl("list", check=False)
        assert answer.returncode in (1, 7) and answer.stderr.count("\n") == 1, answer.stderr
    assert service.machine.state("twistyd.socket") == "failed", "systemd gives up"
    service.configure("")
    service.machine.shell("systemctl reset-failed twistyd.service twistyd.socket\nsystemctl start twistyd.socket")
    service.ctl("list")


# Status and reload


def test_status_line(service):
    service.start(PAIR)
    shown = service.systemctl("status", "--lines=0").stdout
    assert re.search(r'^ +Status: "2 jobs, next is (one|two) at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"$', shown, re.MULTILINE)
    service.ctl("stop", "*")
    service.ctl("add", "once", "--delay", "1d", "--name", "far")
    service.wait_status("1 job, next is far at ")


def test_reload(service):
    service.start(PAIR)
    service.ctl("add", "countdown", "5", "--interval", "1h", "--name", "mine")
    before = service.list()
    service.configure(PAIR.replace("two", "three"))
    service.systemctl("reload")
    after = service.list()
    assert {name for name, job in after.items() if job["state"] == "running"} == {"one", "three", "mine"}
    assert after["one"]["id"] == before["one"]["id"] and after["mine"]["id"] == before["mine"]["id"]
    service.wait_message("reload added=1 changed=0 removed=1 unchanged=1")
    assert service.show("NRestarts", "ActiveState") == {"NRestarts": "0", "ActiveState": "active"}


def test_reload_of_a_bad_file_keeps_the_old_one(service):
    service.start(PAIR)
    before = service.list()
    service.configure(PAIR + "[job:tea]\nkind = countdown\ncount = minus one\n")
    refusal = service.systemctl("reload", check=False)
    assert refusal.returncode != 0
    assert service.state() == "active"
    service.wait_message(f'reload error="{CONFIG}:11: job:tea: count:')
    service.wait_message("reload refused=1")
    service.wait_message(f"{CONFIG}:11: job:tea: count:", count=2)  # from twistyctl, to whoever asked
    after = service.list()
    assert {name: job["id"] for name, job in after.items()} == {name: job["id"] for name, job in before.items()}


# Stop


def test_stop(service):
    service.start(PAIR)
    service.systemctl("stop")
    assert service.show("ActiveState", "Result", "ExecMainStatus") == {
        "ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    service.wait_message("twistyd.service: Deactivated successfully.")
    service.wait_message("exit why=SIGTERM ")
    said = service.messages("SYSLOG_IDENTIFIER=twistyd")
    assert sorted(line.split(" id=")[0] for line in said if line.startswith("stop ")) == ["stop job=one", "stop job=two"]
    assert said[-1].startswith("exit why=SIGTERM jobs=2 stopped=2 ")
    assert service.machine.state("twistyd.socket") == "active"


def test_done_is_inactive_and_not_failed(service):
    service.start("[daemon]\nexit-when-done = yes\n[job:tea]\nkind = countdown\ncount = 2\nrate = 20\n")
    service.wait_state("inactive")
    assert service.show("Result", "ExecMainStatus", "NRestarts") == {
        "Result": "success", "ExecMainStatus": "0", "NRestarts": "0"}
    service.wait_message("finish job=tea ")
    service.wait_message("exit why=done ")
    service.wait_message("twistyd.service: Deactivated successfully.")
    # The next client starts it again, with all of its jobs.
    service.ctl("list", "--all")
    service.wait_message("start job=tea ", count=2)


# State


def identities(service):
    """By name, what an interruption leaves as it was."""
    return {name: (job["id"], job["kind"], job["state"]) for name, job in service.list().items()}


@pytest.mark.parametrize("interruption", ["restart", "kill", "reboot"])
def test_jobs_that_were_added_are_kept(service, interruption):
    service.start(f"[job:configured]\n{HOUR}")
    service.ctl("add", "countdown", "100", "--interval", "1h", "--name", "tea")
    service.ctl("add", "loop", "--interval", "1h", "--name", "paused")
    service.ctl("pause", "paused")
    service.ctl("add", "once", "--delay", "1h", "--transient", "--name", "gone")
    before = identities(service)
    if interruption == "restart":
        service.systemctl("restart")
    elif interruption == "kill":
        service.kill()
    else:
        service.machine.reboot()
        assert service.state() == "inactive", "it is not enabled here: the next client starts it"
        service.machine.run("systemctl", "start", "twistyd.socket")
    after = identities(service)
    assert set(after) == {"configured", "tea", "paused"}
    for name in ("tea", "paused"):
        assert after[name] == before[name]
    assert service.machine.run("stat", "-c", "%U %a", "/var/lib/twisty").stdout == "_twistyd 700\n"


# Watchdog


def test_watchdog_restarts_a_daemon_that_hangs(service):
    watchdog, restart = 1.0, 0.5  # seconds; the unit has 30 s, of which the daemon knows nothing but the number
    service.drop_in(f"[Service]\nWatchdogSec={watchdog}\n")
    service.start(PAIR)
    first = service.pid()
    time.sleep(2.5 * watchdog)
    assert service.pid() == first, "a daemon that is well is left alone"
    began = time.monotonic()
    service.kill(signal.SIGSTOP)
    service.wait_message("Watchdog timeout")
    timeout = time.monotonic() - began
    assert watchdog / 2 - 0.1 < timeout < watchdog + 1.5, "half of it may have gone by already"
    service.wait_message("ready version=", count=2)
    assert time.monotonic() - began < watchdog + restart + 3
    service.wait_state("active")
    assert service.show("NRestarts")["NRestarts"] == "1"
    assert service.pid() != first and set(service.list()) == {"one", "two"}


# The sandbox that the unit asks for is one that the kernel keeps.


def test_sandbox_is_there(service):
    service.start()
    process = Path("/proc", str(service.pid()))
    values = dict(line.split(":\t") for line in (process / "status").read_text(encoding="ascii").splitlines())
    assert {values[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert values["NoNewPrivs"] == "1" and values["Seccomp"] == "2"
    assert os.readlink(process / "ns/net") != os.readlink(f"/proc/{service.machine.leader}/ns/net")
    for path in ("usr", "etc", "var", ""):
        assert os.statvfs(process / "root" / path).f_flag & os.ST_RDONLY, f"/{path} can be written to"
    for path in ("root", "home", "tmp"):
        assert not os.listdir(process / "root" / path), f"/{path} is in sight"
