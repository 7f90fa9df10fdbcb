"""The examples that watch for missed ticks and failed jobs, installed as they say themselves."""

import re
import signal
import time

import pytest

from harness import ROOT
from machine import wait_until

EXAMPLES = ROOT / "systemd" / "examples"

BEAT = "[job:beat]\nkind = loop\nrate = 20\n"


def install(machine, name):
    """Run the commands in the comment of an example, in a directory with all of them."""
    place = machine.path("/run/examples")
    place.mkdir(exist_ok=True)
    for path in EXAMPLES.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    commands = re.findall(r"^#   (.*)$", (EXAMPLES / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert commands, f"{name} does not say how to install it"
    machine.shell("cd /run/examples\n" + "\n".join(commands))


def miss_ticks(service):
    service.start(BEAT)
    service.wait_message("tick job=beat")
    service.kill(signal.SIGSTOP)
    time.sleep(0.3)
    service.kill(signal.SIGCONT)
    service.wait_message(" missed=")


def test_alarm_from_the_journal(service):
    machine = service.machine
    install(machine, "twisty-alarm.service")
    # journalctl does not say when it has begun to follow: that is when it waits for changes of the files.
    wait_until(lambda: "inotify" in machine.shell("ls -l /proc/$(pgrep -x journalctl)/fd", check=False).stdout,
               "it follows the journal")
    miss_ticks(service)
    service.configure(BEAT + "[job:tea]\nkind = teapot\n")
    service.systemctl("reload", check=False)
    service.configure(BEAT + "[action:page]\nexec = /bin/false\n[job:egg]\nkind = once\non-finish = page\n")
    service.systemctl("reload")

    def alarms():
        return machine.messages("SYSLOG_IDENTIFIER=twisty-alarm", "PRIORITY=1", mark=service.begin)

    wait_until(lambda: any("action-failed" in alarm for alarm in alarms()), "there is an alarm for the action")
    assert any("teapot" in alarm for alarm in alarms()), "and one for the mistake"
    failed = [alarm for alarm in alarms() if alarm.startswith("action-failed ")]
    assert len(failed) == 1 and re.match(r"action-failed job=egg id=\d+ action=page event=finish status=1 ", failed[0])
    assert re.match(r"tick job=beat id=1 tick=\d+ missed=\d+$", alarms()[0])
    assert not {alarm.split()[0] for alarm in alarms()} & {"start", "ready"}, "what is well is no alarm"
    assert all(" missed=" in alarm for alarm in alarms() if alarm.startswith("tick "))
    machine.run("systemctl", "disable", "--now", "twisty-alarm")


def test_alarm_from_rsyslog(service):
    machine = service.machine
    install(machine, "rsyslog.conf")
    miss_ticks(service)
    alarms = machine.path("/var/log/twisty-alarms.log")
    wait_until(lambda: alarms.exists() and " missed=" in alarms.read_text(encoding="utf-8"), "there is an alarm")
    lines = alarms.read_text(encoding="utf-8").splitlines()
    assert all(re.search(r" twistyd\[\d+\]: tick job=beat id=1 tick=\d+ missed=\d+$", line) for line in lines), lines


@pytest.mark.parametrize("name", ["network.conf", "home.conf"])
def test_drop_in_is_taken(service, name):
    install(service.machine, name)
    assert f"/etc/systemd/system/twistyd.service.d/{name}" in service.show("DropInPaths")["DropInPaths"]
    assert service.state() == "active"
    service.machine.run("rm", "-r", "/etc/systemd/system/twistyd.service.d")
    service.machine.run("systemctl", "daemon-reload")
