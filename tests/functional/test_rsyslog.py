"""Lines as the daemon sends them arrive in a real rsyslogd's file as they were written."""

import os
import re
import socket
import subprocess
import time

from rsyslog import rsyslogd

LINES = [
    "start job=tea id=1 kind=countdown count=5 rate=0.5/s interval=2s source=config",
    "tick job=tea id=1 left=4 count=5",
    'tick job=hb id=2 tick=7 missed=3 suppressed=12 msg="grün, \\"q\\" \\\\ \\x0a % #"',
    'start job=hb id=2 kind=loop rate=40/h interval="1min 30s" source=control',
    "finish job=tea id=1 count=5 missed=0 elapsed=10s",
]


def send(path, *lines):
    """Datagrams in the form that daemon/sink.c gives them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(path)
        for line in lines:
            stamp = time.strftime("%b %e %H:%M:%S")
            s.send(f"<30>{stamp} twistyd[{os.getpid()}]: {line}".encode())


def test_text_arrives_as_written(tmp_path):
    with rsyslogd(tmp_path) as r:
        send(r.socket, *LINES)
        lines = r.wait_for("finish job=tea")
    assert lines == [f"daemon.info twistyd[{os.getpid()}]: {line}" for line in LINES]


def test_longest_line_is_not_cut(tmp_path):
    line = f'start job=x msg="{"y" * 2000}"'
    with rsyslogd(tmp_path) as r:
        send(r.socket, line, "end")
        lines = r.wait_for("end")
    assert lines[0].endswith(line)


def test_logger_is_understood_the_same_way(tmp_path):
    """The fixture itself: what a well-known program sends is read as it is meant."""
    with rsyslogd(tmp_path) as r:
        command = ["logger", "-u", r.socket, "--id=7", "-t", "twistyd", "-p", "daemon.notice", "--", LINES[0]]
        subprocess.run(command, check=True, timeout=20)
        lines = r.wait_for("start job=tea")
    assert lines == [f"daemon.notice twistyd[7]: {LINES[0]}"]


def test_restart_keeps_the_file(tmp_path):
    with rsyslogd(tmp_path) as r:
        send(r.socket, "before")
        r.wait_for("before")
        r.stop()
        r.start()
        send(r.socket, "after")
        lines = r.wait_for("after")
    assert [line.split(": ", 1)[1] for line in lines] == ["before", "after"]


CONFIG = """
[daemon]
exit-when-done = yes

[job:tea]
kind = countdown
count = 3
rate = 10
missed = burst
message = grün, "q" \\ %# = {}
"""

TEXTS = [
    "start job=tea id=1 kind=countdown count=3 rate=10/s interval=100ms source=config",
    "tick job=tea id=1 left=3 count=3",
    "tick job=tea id=1 left=2 count=3",
    "tick job=tea id=1 left=1 count=3",
    "finish job=tea id=1 count=3 missed=0 elapsed=300ms",
]


def test_daemon_to_file(daemon, tmp_path):
    """A whole countdown on its way through both programs."""
    with rsyslogd(tmp_path) as r:
        d = daemon(CONFIG, target="syslog", env={"TWISTYD_SYSLOG_SOCKET": r.socket}, ready=False)
        assert d.wait_exit() == 0
        lines = r.wait_for("]: exit ")
    start = f"twistyd[{d.pid}]: "
    assert all(start in line for line in lines)
    job_lines = [line.split(start, 1) for line in lines if " job=tea " in line]
    message = r' msg="grün, \"q\" \\ %# = {}"'
    # On a busy machine the end may come late; when is for other tests.
    texts = [re.sub(r"elapsed=\S+", "elapsed=300ms", text) for _, text in job_lines]
    assert texts == [text + message for text in TEXTS]
    assert [level for level, _ in job_lines] == ["daemon.notice ", *3 * ["daemon.info "], "daemon.notice "]


def test_daemon_outlives_a_restart(daemon, tmp_path):
    """While rsyslogd is away, what matters is kept, and of the ticks the latest."""
    with rsyslogd(tmp_path) as r:
        d = daemon(None, target="syslog", env={"TWISTYD_SYSLOG_SOCKET": r.socket}, ready=False)
        r.wait_for("]: ready ")
        r.stop()
        d.add({"name": "before", "kind": "once"}, {"name": "hb", "kind": "loop", "rate": "100", "missed": "burst"})
        deadline = time.monotonic() + 20
        while d.list()["hb"]["ticks"] < 5:
            assert time.monotonic() < deadline
        r.start()
        lines = r.wait_for(" suppressed=")
    assert sum("start job=before " in line for line in lines) == 1
    assert sum("finish job=before " in line for line in lines) == 1
    assert sum("start job=hb " in line for line in lines) == 1
    ticks = [int(re.search(r" tick=(\d+)", line)[1]) for line in lines if ": tick job=hb " in line]
    suppressed = sum(int(n) for line in lines for n in re.findall(r" suppressed=(\d+)", line))
    assert ticks == sorted(ticks) and ticks[-1] == len(ticks) + suppressed
    assert not any("lost" in line for line in lines)
