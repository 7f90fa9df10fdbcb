"""TERM and INT stop cleanly, PIPE is ignored (HUP: test_reload.py)."""

import os
import signal
import time
from pathlib import Path

import pytest

from harness import wait_until
from varlink import Closed

JOBS = """
[job:tea]
kind = countdown
count = 5
interval = 1h
[job:beat]
kind = loop
rate = 50
report = none
[job:later]
kind = once
delay = 1h
message = much later
[job:done]
kind = countdown
count = 0
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_stops_cleanly(daemon, number):
    """Each live job's last state is reported, the exit line says why, the status is 0 and nothing is left behind."""
    d = daemon(JOBS)
    d.wait_for("^finish job=done")
    d.call("Pause", {"match": ["tea"]})
    with d.connect() as watcher:
        events = (reply["event"] for reply in watcher.stream("Watch", {"match": ["tea", "later"]}))
        assert next(events)["event"] == "ready"
        d.signal(number)
        rest = list(events)
        assert watcher.is_closed()
    assert d.wait_exit() == 0
    assert [(e["event"], e.get("name"), e.get("reason")) for e in rest] == [
        ("stop", "tea", "shutdown"), ("stop", "later", "shutdown"), ("exit", None, number.name),
    ]
    *_, tea, beat, later, last = d.lines()
    for line, name in ((tea, "tea"), (beat, "beat"), (later, "later")):
        assert line.text.startswith(f"stop job={name} id="), d.transcript()
        assert line.fields["why"] == "shutdown" and "elapsed" in line.fields, d.transcript()
    assert tea.number("left") == 5 and beat.number("tick") >= 1 and later.fields["msg"] == "much later"
    assert last.fields["why"] == number.name and last.fields["stopped"] == "3", d.transcript()
    assert last.word == "exit" and last.fields["jobs"] == "4"
    assert os.listdir(Path(d.socket).parent) == [], "the socket and its lock are unlinked"


def test_shutdown_over_the_socket(daemon):
    d = daemon(JOBS)
    with d.connect() as client:
        assert client.call("Shutdown") == {}
        assert client.is_closed()
    assert d.wait_exit() == 0
    assert d.lines()[-1].text.startswith(f"exit why=shutdown uid={os.geteuid()} ")
    assert len(d.lines("^stop .* why=shutdown")) == 3
    assert not Path(d.socket).exists()


def test_term_while_it_is_stopped(daemon):
    d = daemon(JOBS)
    with d.stalled(0.1):
        d.signal(signal.SIGTERM)
        d.signal(signal.SIGINT)
    assert d.wait_exit() == 0
    assert d.lines()[-1].word == "exit" and len(d.lines("^exit")) == 1


def test_term_while_replies_are_under_way(daemon):
    """Nobody who does not read keeps the daemon from ending."""
    d = daemon()
    d.add(*({"kind": "loop", "interval": "1h"} for _ in range(3000)))
    with d.connect() as client:
        client.send("List", more=True)
        client.receive()
        began = time.monotonic()
        d.signal(signal.SIGTERM)
        assert d.wait_exit() == 0
        assert time.monotonic() - began < 5
        with pytest.raises(Closed):
            while True:
                client.receive()
    assert len(d.lines("^stop ")) == 3000


def test_term_leaves_no_request_without_a_reply(daemon):
    """Those who were connected have asked, or do so a moment later; and a reply in slices is ended."""
    d = daemon()
    d.add(*({"kind": "loop", "interval": "1h", "immediate": False} for _ in range(200)))
    clients = [d.connect() for _ in range(20)]
    wait_until(lambda: d.status()["connections"] == 21)
    with d.stalled(0.1):
        for client in clients[:10]:
            client.send("Status")
        clients[1].send("List", more=True)
        d.signal(signal.SIGTERM)
    for client in clients[10:]:
        client.send("Status")
    for client in clients:
        assert client.receive()[0]["status"]["pid"] == d.pid
    listed, continues = 0, True
    while continues:
        reply, continues = clients[1].receive()
        listed += len(reply["jobs"])
    assert listed == 200
    assert d.wait_exit() == 0


def test_pipe_is_ignored(daemon):
    d = daemon()
    d.signal(signal.SIGPIPE)
    d.add(*({"kind": "loop", "interval": "1h"} for _ in range(3000)))
    for _ in range(20):  # who go away with replies unread
        client = d.connect()
        client.send("List", more=True)
        client.send("Status")
        client.close()
    assert d.status()["jobs"]["live"] == 3000


def test_goes_on_when_nobody_reads_its_log(daemon):
    """stderr's other end is closed: writing there gives EPIPE, and no job notices."""
    read_end, write_end = os.pipe()
    try:
        d = daemon(ready=False, stderr=write_end)
    finally:
        os.close(write_end)
    d.wait_socket()
    os.close(read_end)
    d.add({"kind": "countdown", "count": 3, "rate": "50", "name": "x"})
    while d.list(all=True)["x"]["state"] != "finished":
        time.sleep(0.01)
    assert d.status()["logLost"] >= 1
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
