"""What the real daemon writes to the journal, to syslog and to stderr, and that no receiver of it holds it up."""

import contextlib
import os
import re
import signal
import time

import pytest

from harness import Datagrams, LineReader, grace, wait_until
from rsyslog import rsyslogd
from varlink import ROOT, VarlinkError

CATALOG = dict(re.findall(r"^-- ([0-9a-f]{32})\nSubject: (.*)$", (ROOT / "systemd/twisty.catalog").read_text(), re.M))
HOUR = {"kind": "loop", "interval": "1h"}

HOSTILE = [
    'quote " and backslash \\ and \\" both',
    "x=y msg=\"forged\" job=other",
    "\\x0a\\n",
    "MESSAGE_ID=ffffffffffffffffffffffffffffffff",
    "<0>kernel: panic",
    "grün, 日本語, \U0001f375, e\u0301",
    "%s%n%d {0} $(reboot) `reboot`",
    "\u2028line\u2029paragraph\u0085next\u202eright-to-left",
    "m" * 256,
    " leading and trailing ",
]
CONTROL_BYTES = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")


def message_ids():
    """The event's MESSAGE_ID, as the code has it."""
    text = (ROOT / "daemon/report.c").read_text(encoding="utf-8")
    return dict(re.findall(r'\{"([a-z-]+)", "([0-9a-f]{32})"\}', text))


# The journal


def test_journal_fields_of_a_countdown_byte_for_byte(journal_daemon, journal):
    journal.start()
    d = journal_daemon('[daemon]\nexit-when-done = yes\n[job:tea]\nkind = countdown\ncount = 2\nrate = 10\n'
                       'missed = burst\nmessage = grün "q"\n')
    journal.wait_message("^exit ")
    assert d.wait_exit() == 0 and d.texts() == [], "and nothing goes to stderr"
    ids = message_ids()
    assert ids["tick"] in CATALOG and len(set(ids.values())) == 15

    def record(priority, message, event, **twisty):
        common = [("PRIORITY", str(priority)), ("SYSLOG_FACILITY", "3"), ("SYSLOG_IDENTIFIER", "twistyd"),
                  ("MESSAGE", message), ("MESSAGE_ID", ids[event]), ("TWISTY_EVENT", event)]
        return [(k, v.encode()) for k, v in [*common, *((f"TWISTY_{k}", v) for k, v in twisty.items())]]

    msg = ' msg="grün \\"q\\""'
    job = {"JOB": "tea", "ID": "1", "KIND": "countdown"}
    expected = [
        record(5, f"start job=tea id=1 kind=countdown count=2 rate=10/s interval=100ms source=config{msg}", "start",
               **job, LEFT="2", COUNT="2", MISSED="0"),
        record(5, f"ready version=0.1.0 pid={d.pid} jobs=1 backend=epoll socket={d.socket}", "ready"),
        record(6, f"tick job=tea id=1 left=2 count=2{msg}", "tick", **job, LEFT="2", COUNT="2", MISSED="0"),
        record(6, f"tick job=tea id=1 left=1 count=2{msg}", "tick", **job, LEFT="1", COUNT="2", MISSED="0"),
        record(5, f"finish job=tea id=1 count=2 missed=0 elapsed=ELAPSED{msg}", "finish", **job, LEFT="0", COUNT="2",
               MISSED="0"),
        record(5, 'exit why=done jobs=1 stopped=0 uptime=ELAPSED', "exit"),
    ]
    got = []
    for fields in journal.records():
        late = [int(v) for k, v in fields if k == "TWISTY_LATE_USEC"]
        event = dict(fields)["TWISTY_EVENT"].decode()
        assert len(late) == (event in ("tick", "finish")) and all(0 <= us < grace() * 10**6 for us in late)
        got.append([(k, re.sub(rb"(elapsed|uptime)=[\w.]+", rb"\1=ELAPSED", v)) for k, v in fields
                    if k != "TWISTY_LATE_USEC"])
    assert got == expected


def test_every_event_has_its_id_and_priority(journal_daemon, journal):
    journal.start()
    d = journal_daemon("[job:x]\nkind = loop\ninterval = 1h\n[job:p]\nkind = loop\ninterval = 20ms\n")
    d.wait_socket()
    for method in ("Pause", "Resume", "Reset"):
        d.call(method, {"match": ["x"]})
    d.add({"kind": "countdown", "count": 3, "interval": "50ms", "name": "slept"})
    with d.stalled(0.4):
        pass
    journal.wait_message("^missed ")
    d.call("Reload")
    d.config.write_text("[daemon]\nnonsense = 1\n")
    d.signal(signal.SIGHUP)
    journal.wait_message("^reload refused")
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    journal.wait_message("^exit ")
    priorities, missed = {}, set()
    ids = message_ids()
    for record in map(dict, journal.records()):
        word = record["TWISTY_EVENT"].decode()
        assert record["MESSAGE"].decode().split(" ")[0] == word
        assert record["MESSAGE_ID"].decode() == ids[word]
        told = missed if word == "tick" and record["TWISTY_MISSED"] != b"0" else priorities.setdefault(word, set())
        told.add(int(record["PRIORITY"]))
    assert missed == {4}, "a tick that tells of missed ones"
    assert priorities == {"start": {5}, "ready": {5}, "tick": {6}, "pause": {5}, "resume": {5}, "reset": {5},
                          "missed": {4}, "finish": {5}, "stop": {5}, "reload": {5, 3}, "exit": {5}}


def escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: ascii(t[:30]))
def test_hostile_messages_cannot_forge_a_line(journal_daemon, journal, text):
    journal.start()
    d = journal_daemon()
    d.wait_socket()
    try:
        d.add({"kind": "countdown", "count": 0, "name": "x", "message": text})
    except VarlinkError as error:  # refusing it is as good
        assert error.parameters["field"] == "message"
        assert not text.isprintable()
        return
    journal.wait_message("^finish job=x")
    for record in journal.records():
        names = [name for name, _ in record]
        assert len(set(names)) == len(names), "a field came twice"
        message = dict(record)["MESSAGE"]
        assert b"\n" not in message and not CONTROL_BYTES.search(message)
    (line,) = [m for m in journal.messages() if m.startswith("finish ")]
    if text.isprintable():
        assert line.endswith(f' msg="{escaped(text)}"')
    assert re.fullmatch(r'finish job=x id=1 count=0 missed=0 elapsed=\S+ msg="(?:[^"\\]|\\.)*"', line)


@pytest.mark.parametrize("text", ["a\nfinish job=other", "a\r", "\x1b[2J", "tab\there", "\x7f", "\ufeff\x01"],
                         ids=ascii)
def test_control_characters_are_refused(daemon, text):
    d = daemon()
    for spec in ({**HOUR, "message": text}, {**HOUR, "name": text}):
        with pytest.raises(VarlinkError) as error:
            d.add(spec)
        assert error.value.name == "InvalidJob"
    d.call("List", {"all": True})
    assert not d.lines("^start")


def test_what_stands_in_a_file_cannot_forge_a_line(journal_daemon, journal):
    """Mistakes quote the file; the file may be anything."""
    journal.start()
    d = journal_daemon("[daemon]\n")
    d.wait_socket()
    d.config.write_bytes(b'[job:a"b\x1b[31m]\nkind = "loop\x07\\\n\xff\xfe = \x00 x\n[\nfinish job=tea id=1\n')
    d.signal(signal.SIGHUP)
    journal.wait_message("^reload refused")
    for record in map(dict, journal.records()):
        message = record["MESSAGE"]
        assert record["TWISTY_EVENT"] in (b"ready", b"reload")
        assert not CONTROL_BYTES.search(message) and b"\n" not in message
        message.decode()
    errors = [m for m in journal.messages() if m.startswith("reload error=")]
    assert len(errors) >= 4
    assert all(re.fullmatch(r'reload error="(?:[^"\\]|\\.)*"', m) for m in errors), errors


def test_stuck_journal_holds_nothing_up(journal_daemon, journal):
    """Nobody reads it: jobs tick, control answers, and once it is read every start and finish is there, in order."""
    d = journal_daemon("[daemon]\nreport-limit = 0\n")
    d.wait_socket()
    d.add({"kind": "loop", "rate": "50", "name": "beat"})
    for batch in range(4):
        d.add(*({"kind": "countdown", "count": 2, "rate": "20", "name": f"j-{batch}-{i}"} for i in range(250)))
    slowest = 0
    deadline = time.monotonic() + 20
    while d.status()["jobs"]["live"] > 1:
        began = time.monotonic()
        assert d.list("beat")["beat"]["state"] == "running"
        slowest = max(slowest, time.monotonic() - began)
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert slowest < grace()
    with d.connect() as client:
        late = []
        for reply in client.stream("Watch", {"match": ["beat"]}):
            late.append(reply["event"].get("lateUsec") or 0)
            if len(late) == 10:
                break
    assert max(late) < grace() * 10**6
    assert not journal.all(), "nothing was read until now"
    journal.start()
    journal.wait_message("^finish ", count=1000)
    names = [f"j-{batch}-{i}" for batch in range(4) for i in range(250)]
    assert sorted(r["TWISTY_JOB"].decode() for r in journal.wait_message("^finish ")) == sorted(names)
    started = [r["TWISTY_JOB"].decode() for r in journal.wait_message("^start ")]
    assert started == ["beat", *names]
    # What ticks there are not, a later line of the same job has counted.
    journal.wait_message(r"^tick job=beat .*suppressed=\d")
    assert d.status()["logLost"] == 0 and d.status()["suppressed"] > 0
    told, suppressed = 0, 0
    for line in [m for m in journal.messages() if m.startswith("tick job=beat ")]:
        match = re.search(r"tick=(\d+)(?: missed=(\d+))?(?: suppressed=(\d+))?", line)
        told += 1 + int(match[2] or 0) + int(match[3] or 0)
        assert int(match[1]) == told, f"ticks are missing before: {line}"
        suppressed += int(match[3] or 0)
    assert suppressed > 0


def test_stuck_journal_does_not_keep_it_from_ending(journal_daemon, journal):
    d = journal_daemon("[daemon]\nreport-limit = 0\n")
    d.wait_socket()
    d.add(*[HOUR] * 2000)
    began = time.monotonic()
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    assert time.monotonic() - began < 5
    assert not journal.all()


def test_journal_that_went_and_came_back(journal_daemon, journal):
    journal.start()
    d = journal_daemon()
    journal.wait_message("^ready ")
    journal.close()
    d.add({"kind": "countdown", "count": 0, "name": "meanwhile"})
    wait_until(lambda: d.list(all=True)["meanwhile"]["state"] == "finished")
    again = Datagrams(journal.path).start()
    try:
        again.wait_message("^finish job=meanwhile")
        assert [m.split(" id=")[0] for m in again.messages()] == ["start job=meanwhile", "finish job=meanwhile"]
        assert d.status()["logLost"] == 0
    finally:
        again.close()


# Which receiver


def test_auto_takes_the_first_that_answers(daemon, directory):
    places = {"TWISTYD_JOURNAL_SOCKET": directory / "j", "TWISTYD_SYSLOG_SOCKET": directory / "s"}
    env = {k: str(v) for k, v in places.items()}
    assert daemon(target=None, env=env).status()["logTarget"] == "stderr"
    for target, place in (("syslog", places["TWISTYD_SYSLOG_SOCKET"]), ("journal", places["TWISTYD_JOURNAL_SOCKET"])):
        with contextlib.closing(Datagrams(place).start()) as receiver:
            d = daemon(target=None, env=env, ready=False)
            d.wait_socket()
            assert d.status()["logTarget"] == target
            assert receiver.wait(len)
            d.signal(signal.SIGTERM)
            assert d.wait_exit() == 0 and d.texts() == []


@pytest.mark.parametrize("target", ["journal", "syslog"])
def test_a_named_receiver_that_is_not_there(daemon, directory, target):
    env = {f"TWISTYD_{target.upper()}_SOCKET": str(directory / "nowhere")}
    d = daemon(target=target, env=env, ready=False)
    assert d.wait_exit() == 1
    (line,) = d.texts()
    assert f"cannot log to {target}: " in line and "--log-target" in line
    assert not os.path.exists(d.socket)


# syslog


def test_lines_reach_a_real_rsyslogd_as_written(daemon, tmp_path):
    with rsyslogd(tmp_path) as r:
        d = daemon('[daemon]\nexit-when-done = yes\n[job:tea]\nkind = countdown\ncount = 3\nrate = 20\n'
                   'missed = burst\nmessage = grün "q" \\ %s\n', target="syslog", ready=False,
                   env={"TWISTYD_SYSLOG_SOCKET": r.socket})
        assert d.wait_exit() == 0
        lines = r.wait_for("exit why=")
    tag = f"twistyd[{d.pid}]: "
    assert all(tag in line for line in lines)
    lines = [re.sub(r"(elapsed|uptime)=[\w.]+", r"\1=T", line) for line in lines]
    said = [(line.partition(" ")[0], line.partition(tag)[2]) for line in lines]
    msg = ' msg="grün \\"q\\" \\\\ %s"'
    assert said == [
        ("daemon.notice", f"start job=tea id=1 kind=countdown count=3 rate=20/s interval=50ms source=config{msg}"),
        ("daemon.notice", f"ready version=0.1.0 pid={d.pid} jobs=1 backend=epoll socket={d.socket}"),
        *(("daemon.info", f"tick job=tea id=1 left={n} count=3{msg}") for n in (3, 2, 1)),
        ("daemon.notice", f"finish job=tea id=1 count=3 missed=0 elapsed=T{msg}"),
        ("daemon.notice", 'exit why=done jobs=1 stopped=0 uptime=T'),
    ]


# stderr


def test_levels_on_a_stream_of_the_journal(daemon):
    """JOURNAL_STREAM says that stderr leads to the journal: then lines carry their level, else nothing."""
    read_end, write_end = os.pipe()
    st = os.fstat(write_end)
    d = daemon("[job:x]\nkind = countdown\ncount = 1\nrate = 50\n", stderr=write_end, ready=False,
               env={"JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}"})
    os.close(write_end)
    output = LineReader(read_end)
    assert output.wait(lambda lines: [line for line in lines if "finish job=x" in line.text])
    assert [line.text[:8] for line in output.all()] == ["<5>start", "<5>ready", "<6>tick ", "<5>finis"]
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0


def test_stderr_that_nobody_reads_holds_nothing_up(daemon):
    """A full pipe: what matters is kept and comes when it is read."""
    read_end, write_end = os.pipe()
    d = daemon("[daemon]\nreport-limit = 0\n", stderr=write_end, ready=False)
    os.close(write_end)
    d.wait_socket()
    d.add(*({"kind": "countdown", "count": 1, "interval": "500ms", "name": f"x{i}"} for i in range(2000)))
    wait_until(lambda: d.status()["jobs"]["live"] == 0)
    output = LineReader(read_end)
    assert output.wait(lambda lines: len([line for line in lines if line.word == "finish"]) == 2000)
    lines = output.all()
    assert [line.fields["job"] for line in lines if line.word == "start"] == [f"x{i}" for i in range(2000)]
    assert [line.text for line in lines if not re.match(r"(ready|start|tick|finish) ", line.text)] == []
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0


def test_stderr_stays_blocking_for_others(daemon):
    """O_NONBLOCK set on it would be seen by everybody who has it: the shell, for one."""
    read_end, write_end = os.pipe()
    d = daemon(stderr=write_end, ready=False)
    d.wait_socket()
    assert os.get_blocking(write_end)
    os.close(write_end)
    LineReader(read_end)
    d.call("Shutdown")
    d.wait_exit()


# What is written


def test_report_rules(daemon):
    d = daemon("[daemon]\nexit-when-done = yes\n" + "".join(
        f"[job:{name}]\nkind = loop\ncount = 20\nrate = 40\nreport = {rule}\n"
        for name, rule in (("all", "all"), ("none", "none"), ("fifth", "every 5"), ("span", "every 200ms"))))
    assert d.wait_exit() == 0

    def ticks(name):
        lines = d.lines(f"^tick job={name} ")
        return [line.number("tick") for line in lines if not line.number("missed")], lines

    missed = d.lines("missed=[1-9]")  # on a busy machine; those are always written
    assert ticks("all")[0] == list(range(1, 21)) or missed, d.transcript()
    assert ticks("none")[0] == [] or missed
    assert ticks("fifth")[0] == [1, 6, 11, 16] or missed
    assert ticks("span")[0] == [1, 9, 17] or missed, d.transcript()
    assert len(d.lines("^finish")) == 4


def test_log_level(daemon):
    d = daemon("[daemon]\nlog-level = warning\nexit-when-done = yes\n[job:x]\nkind = countdown\ncount = 2\nrate = 50\n",
               ready=False)
    assert d.wait_exit() == 0
    assert d.texts() == []


def test_report_limit(daemon):
    """Beyond it only the latest tick of a job is written, and says how many were not; the rest is all there."""
    d = daemon("[daemon]\nreport-limit = 20\nexit-when-done = yes\n"
               "[job:x]\nkind = countdown\ncount = 200\nrate = 100\n")
    assert d.wait_exit() == 0
    ticks = d.lines("^tick")
    (finish,) = d.lines("^finish")
    missed = sum(line.number("missed") for line in d.lines("^(tick|missed)"))  # on a busy machine, even the last
    assert 40 - missed <= len(ticks) <= 20 * (finish.at - d.spawned + 1) + 2, d.transcript()
    assert len(ticks) + missed + sum(t.number("suppressed") for t in ticks) == 200, d.transcript()
    assert any(t.number("suppressed") for t in ticks)


def test_every_word_is_in_the_catalog():
    """The words that lines begin with have an entry in the catalog."""
    ids = message_ids()
    assert set(ids) == {"start", "tick", "missed", "finish", "stop", "pause", "resume", "reset", "failed", "ready", "state",
                        "reload", "exit", "action-failed", "output"}
    assert set(CATALOG) == set(ids.values())
