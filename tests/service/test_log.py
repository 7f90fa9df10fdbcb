"""Reports in a real journal, with its catalog, and in Debian's /var/log/syslog."""

import re
import time

import pytest

from harness import grace
from machine import wait_until

TEA = "[job:tea]\nkind = countdown\ncount = 2\nrate = 20\nmessage = grün\n"

BURST_LINES = 1_000_000
BURST_SECONDS = 4
BYSTANDERS = 200


def test_one_job_by_its_fields(service):
    """As README has it: journalctl TWISTY_JOB=tea -o json."""
    service.start(TEA)
    service.wait_message("finish job=tea")
    entries = service.machine.journal("TWISTY_JOB=tea", mark=service.begin)
    assert [e["TWISTY_EVENT"] for e in entries] == ["start", "tick", "tick", "finish"]
    for entry in entries:
        assert entry["TWISTY_KIND"] == "countdown" and entry["TWISTY_COUNT"] == "2" and int(entry["TWISTY_ID"]) > 0
        assert re.fullmatch("[0-9a-f]{32}", entry["MESSAGE_ID"])
        assert entry["MESSAGE"].endswith(' msg="grün"')
        assert entry["SYSLOG_IDENTIFIER"] == "twistyd" and entry["SYSLOG_FACILITY"] == "3"
        assert entry["_SYSTEMD_UNIT"] == "twistyd.service" and entry["_TRANSPORT"] == "journal"
    assert [e["PRIORITY"] for e in entries] == ["5", "6", "6", "5"]
    assert [e["TWISTY_LEFT"] for e in entries] == ["2", "2", "1", "0"]
    assert entries[-1]["TWISTY_MISSED"] == "0" and int(entries[1]["TWISTY_LATE_USEC"]) >= 0


def test_catalog_explains(service):
    service.start(TEA)
    service.wait_message("finish job=tea")
    service.systemctl("stop")
    service.wait_message("exit why=")
    text = service.machine.run("journalctl", "--catalog", f"--cursor={service.begin}",
                               "_SYSTEMD_UNIT=twistyd.service").stdout
    said = len(service.messages("_SYSTEMD_UNIT=twistyd.service"))
    assert text.count("░░ Subject: ") == text.count("░░ Defined-By: twisty\n") == said, "every line is explained"
    assert "░░ Subject: Timer job tea has finished\n" in text
    assert "The countdown tea (id 1) has given all of its ticks" in text
    assert not re.search("@[A-Z_]+@", text), "every field was filled in"


def test_mistakes_at_the_start_are_errors(service):
    """They are written before there is a log to write to."""
    service.configure("[job:tea]\nkind = teapot\n[job:jam]\nkind = jampot\n")
    service.systemctl("start", check=False)
    service.wait_message("kind: 'jampot' is")
    errors = [e["MESSAGE"] for e in service.machine.journal("PRIORITY=3", mark=service.begin)]
    assert sum("kind: 'teapot' is" in m for m in errors) == sum("kind: 'jampot' is" in m for m in errors) == 1


@pytest.mark.parametrize("limit", [1000, 0], ids=["limited", "unlimited"])
def test_burst(service, limit):
    """
    A million ticks in a few seconds. What nobody can read is left out and counted, with report-limit by the daemon, and
    without it because the journal does not take it. No start and no finish is lost, and the daemon answers meanwhile.
    """
    rate = BURST_LINES // BURST_SECONDS
    service.start(f"[daemon]\nreport-limit = {limit}\n")
    slowest = 0
    with service.client() as client:
        burst = {"name": "burst", "kind": "countdown", "count": BURST_LINES, "rate": str(rate), "missed": "burst"}
        client.call("Add", {"jobs": [burst]})
        for i in range(BYSTANDERS):
            began = time.monotonic()
            client.call("Add", {"jobs": [{"name": f"by-{i}", "kind": "once"}]})
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(BURST_SECONDS / BYSTANDERS / 2)
        wait_until(lambda: client.call("List", {"match": ["burst"], "all": True})["jobs"][0]["state"] == "finished",
                   "the burst is over")
        status = client.call("Status")["status"]
    assert slowest < 3 * grace(), "seconds that a client waits for the daemon"
    names = ["burst", *(f"by-{i}" for i in range(BYSTANDERS))]
    wait_until(lambda: service.messages("TWISTY_JOB=burst", "TWISTY_EVENT=finish"), "its end has reached the journal")
    for event in ("start", "finish"):
        lines = service.messages(f"TWISTY_EVENT={event}")
        assert sorted(re.search(r" job=(\S+) ", line)[1] for line in lines) == sorted(names)
    ticks = service.messages("TWISTY_JOB=burst", "TWISTY_EVENT=tick")
    print(f"{len(ticks)} of {BURST_LINES} ticks have lines; a client waited {slowest * 1e3:.1f} ms at most")
    told = len(ticks) + sum(int(n) for line in ticks for n in re.findall(r" suppressed=(\d+)", line))
    missed = sum(int(n) for line in ticks for n in re.findall(r" missed=(\d+)", line))
    assert told + missed == BURST_LINES, "each tick is written, or counted by a line that is"
    assert status["logLost"] == 0 and status["suppressed"] > 0
    if limit:
        assert len(ticks) <= limit * (status["uptimeNsec"] / 1e9 + 1)
    dropped = service.machine.messages("_COMM=systemd-journal", mark=service.begin)
    assert not [m for m in dropped if "Suppressed" in m], "the journal's own limit is off"


@pytest.mark.parametrize("target", ["journal", "syslog"])
def test_lines_in_var_log_syslog(service, target):
    """Through journald's forwarding, which is Debian's, or from /dev/log: the same lines."""
    service.drop_in(f"[Service]\nExecStart=\nExecStart=/usr/sbin/twistyd --log-target {target}\n")
    service.machine.wait_state("rsyslog.service", "active")
    service.start(TEA.replace("tea", f"tea-{target}"))
    syslog = service.machine.path("/var/log/syslog")
    own = re.compile(rf" vm twistyd\[\d+\]: (.* job=tea-{target} .*)$")

    def lines():
        text = syslog.read_text(encoding="utf-8") if syslog.exists() else ""
        found = [match[1] for match in map(own.search, text.splitlines()) if match]
        return found if any(line.startswith("finish ") for line in found) else None

    told = wait_until(lines, "/var/log/syslog has the finish")
    assert [line.split()[0] for line in told] == ["start", "tick", "tick", "finish"]
    assert told[1] == f'tick job=tea-{target} id=1 left=2 count=2 msg="grün"'
