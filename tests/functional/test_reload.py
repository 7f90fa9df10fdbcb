"""Reload, by SIGHUP and over the socket: all or nothing, and who is not concerned keeps count and phase."""

import signal

import pytest

from harness import grace, wait_until
from varlink import VarlinkError

BASE = """
[job:keep]
kind = loop
interval = 400ms
[job:change]
kind = countdown
count = 1000
interval = 1h
[job:drop]
kind = loop
interval = 1h
"""
NEXT = """
[job:new]
kind = countdown
count = 7
interval = 1h
[job:keep]
interval = 400ms
kind = loop
[job:change]
kind = countdown
count = 500
interval = 1h
"""


def by_method(d):
    return d.call("Reload")


def by_hup(d):
    """What the log says of it, as the reply has it."""
    n = len(d.lines("^reload "))
    d.signal(signal.SIGHUP)
    fields = d.wait_for("^reload ", count=n + 1).fields
    return fields


@pytest.mark.parametrize("reload", [by_method, by_hup], ids=["method", "HUP"])
def test_only_what_changed_is_touched(daemon, reload):
    d = daemon(BASE)
    d.wait_for("^tick job=keep", count=2)
    old = d.list()
    d.config.write_text(NEXT)
    result = reload(d)
    line = d.wait_for("^reload ")
    assert [line.fields[k] for k in ("added", "changed", "removed", "unchanged")] == ["1"] * 4
    if reload is by_method:
        assert result == {"added": ["new"], "changed": ["change"], "removed": ["drop"], "addedCount": 1,
                          "changedCount": 1, "removedCount": 1, "unchanged": 1, "restartNeeded": []}
    new = d.list()
    assert new.keys() == {"keep", "change", "new"}
    assert new["keep"]["id"] == old["keep"]["id"] and new["keep"]["ticks"] >= old["keep"]["ticks"]
    assert new["change"]["count"] == 500 and new["change"]["id"] != old["change"]["id"]
    assert all(job["source"] == "config" for job in new.values())
    assert d.wait_for("^stop job=drop ").fields["why"] == "reload"
    # The phase: the next tick is on the grid of the job's own start, not of the reload.
    tick = d.wait_for(r"^tick job=keep .*tick=5\b")
    assert tick.at >= d.spawned + 4 * 0.4
    assert tick.at <= d.lines("^start job=keep")[0].at + 4 * 0.4 + grace()
    numbers = [t.number("tick") for t in d.lines("^tick job=keep")]
    assert numbers == list(range(1, len(numbers) + 1)), d.transcript()
    assert len(d.lines("^start job=keep")) == 1


def test_nothing_changed(daemon):
    d = daemon(BASE)
    before = d.list()
    result = d.call("Reload")
    assert (result["addedCount"], result["changedCount"], result["removedCount"], result["unchanged"]) == (0, 0, 0, 3)
    assert {n: j["id"] for n, j in d.list().items()} == {n: j["id"] for n, j in before.items()}


def test_reload_without_a_configuration(daemon):
    d = daemon()
    d.add({"kind": "loop", "interval": "1h", "name": "mine"})
    assert d.call("Reload")["unchanged"] == 0
    assert "mine" in d.list()


@pytest.mark.parametrize("how", ["method", "HUP"])
def test_a_mistake_refuses_all_of_it(daemon, how):
    d = daemon(BASE)
    before = d.list()
    d.config.write_text(NEXT + "[job:bad]\nkind = countdwn\ncount = -1\n[daemon]\nlog-levle = info\n")
    if how == "method":
        with pytest.raises(VarlinkError) as error:
            d.call("Reload")
        assert error.value.name == "InvalidConfiguration"
        mistakes = error.value.parameters["mistakes"]
        assert len(mistakes) == 3, mistakes
        assert [m.split(": ")[1:3] for m in mistakes] == [
            ["job:bad", "kind"], ["job:bad", "count"], ["daemon", "log-levle"],
        ]
        lines = [m.split(": ")[0] for m in mistakes]
        assert lines == [f"{d.config}:{n}" for n in (14, 15, 17)], mistakes
        assert "countdown" in mistakes[0] and "log-level" in mistakes[2]
    else:
        d.signal(signal.SIGHUP)
    d.wait_for("^reload refused")
    said = d.texts("^reload error=")
    assert len(said) == 3 and f"{d.config}:14: job:bad: kind: " in said[0], d.transcript()
    after = d.list()
    assert {n: j["id"] for n, j in after.items()} == {n: j["id"] for n, j in before.items()}
    assert not d.lines("^stop")
    d.config.write_text(NEXT)
    assert d.call("Reload")["added"] == ["new"], "put right, it is taken"


def test_a_file_that_went_is_a_mistake(daemon):
    d = daemon(BASE)
    d.config.unlink()
    with pytest.raises(VarlinkError) as error:
        d.call("Reload")
    assert error.value.name == "InvalidConfiguration" and str(d.config) in error.value.parameters["mistakes"][0]
    assert len(d.list()) == 3


def test_drop_ins(daemon, directory):
    """FILE.d/*.conf in the order of their names, each laid over those before it."""
    own = directory / "own"
    drop_ins = own / "twistyd.conf.d"
    drop_ins.mkdir(parents=True)
    (drop_ins / "10-more.conf").write_text("[job:more]\nkind = loop\ninterval = 1h\n[job:change]\ncount = 3\n")
    (drop_ins / "20-last.conf").write_text("[job:change]\ncount = 4\n")
    (drop_ins / "30-ignored.txt").write_text("no configuration\n")
    d = daemon(BASE, directory=own)
    jobs = d.list()
    assert jobs.keys() == {"keep", "change", "drop", "more"} and jobs["change"]["count"] == 4
    (drop_ins / "20-last.conf").unlink()
    (drop_ins / "40-new.conf").write_text("[defaults]\nmissed = burst\n"
                                          "[job:new]\nkind = countdown\ncount = 1\ndelay = 1h\n")
    result = d.call("Reload")
    assert "new" in result["added"] and "change" in result["changed"]
    assert d.list()["change"]["count"] == 3 and d.list()["new"]["missedPolicy"] == "burst"
    (drop_ins / "50-bad.conf").write_text("\n[job:worse]\n")
    with pytest.raises(VarlinkError) as error:
        d.call("Reload")
    assert error.value.parameters["mistakes"][0].startswith(f"{drop_ins}/50-bad.conf:2: job:worse: ")


def test_conflict_with_a_job_of_the_socket(daemon):
    d = daemon(BASE)
    (mine,) = d.add({"kind": "loop", "interval": "1h", "name": "new"})
    d.config.write_text(NEXT)
    with pytest.raises(VarlinkError) as error:
        d.call("Reload")
    assert error.value.name == "InvalidConfiguration"
    (mistake,) = error.value.parameters["mistakes"]
    assert "job:new" in mistake and "uid" in mistake
    jobs = d.list()
    assert jobs["new"]["id"] == mine["id"] and "drop" in jobs and jobs["change"]["count"] == 1000, "nothing was done"
    d.call("Stop", {"match": ["new"]})
    assert d.call("Reload")["added"] == ["new"]
    assert d.list()["new"]["source"] == "config"


def test_jobs_of_the_socket_survive(daemon):
    d = daemon(BASE)
    (mine,) = d.add({"kind": "countdown", "count": 9, "interval": "1h", "name": "mine"})
    d.config.write_text(NEXT)
    d.call("Reload")
    assert d.list()["mine"]["id"] == mine["id"]


@pytest.mark.parametrize("method", ["Stop", "Remove"])
def test_what_a_user_ended_stays_ended(daemon, method):
    d = daemon(BASE)
    d.call(method, {"match": ["keep"]})
    assert d.call("Reload")["unchanged"] == 3
    assert "keep" not in d.list()


def test_user_may_replace_a_job_of_the_file(daemon):
    """What took the place of the file's job is not the file's: it stays when the file's goes."""
    d = daemon(BASE)
    (mine,) = d.add({"kind": "loop", "interval": "2h", "name": "drop"}, replace=True)
    d.config.write_text(NEXT)
    assert d.call("Reload")["removed"] == ["drop"]
    assert d.list()["drop"]["id"] == mine["id"]


def test_settings(daemon):
    """Some take effect at once, the others are named in restartNeeded."""
    d = daemon("[daemon]\nbackend = poll\nlog-level = info\n", target=None, env={"TWISTYD_JOURNAL_SOCKET": "/nowhere",
                                                                                "TWISTYD_SYSLOG_SOCKET": "/nowhere"})
    d.config.write_text("[daemon]\nbackend = select\nclock = boottime\nlog-target = syslog\n"
                        "log-level = notice\nmax-jobs = 2\nexit-when-done = yes\n")
    result = d.call("Reload")
    assert sorted(result["restartNeeded"]) == ["backend", "clock", "log-target"]
    assert d.call("Reload")["restartNeeded"] == result["restartNeeded"], "as long as it has not been restarted"
    status = d.status()
    assert (status["backend"], status["clock"], status["logTarget"]) == ("poll", "monotonic", "stderr")
    assert status["exitWhenDone"] is True
    with pytest.raises(VarlinkError) as error:
        d.add(*[{"kind": "once", "delay": "1h"}] * 3)
    assert error.value.parameters == {"limit": "max-jobs", "value": 2}
    d.add({"kind": "countdown", "count": 3, "rate": "50", "name": "quiet"})
    assert d.wait_exit() == 0
    assert d.lines("^finish job=quiet") and not d.lines("^tick"), "log-level = notice leaves ticks out"


def test_settings_of_the_command_line_stay(daemon):
    d = daemon("[daemon]\nlog-level = debug\n", args=["--log-level", "notice"])
    d.config.write_text("[daemon]\nlog-level = info\nlog-target = syslog\n")
    assert d.call("Reload")["restartNeeded"] == []
    d.add({"kind": "countdown", "count": 2, "rate": "50", "name": "x"})
    d.wait_for("^finish job=x")
    assert not d.lines("^tick")


def test_too_few_max_jobs_is_refused(daemon):
    d = daemon(BASE)
    d.config.write_text("[daemon]\nmax-jobs = 1\n" + NEXT)
    with pytest.raises(VarlinkError) as error:
        d.call("Reload")
    assert "max-jobs" in error.value.parameters["mistakes"][0]
    assert d.list().keys() == {"keep", "change", "drop"}
    d.add({"kind": "once", "delay": "1h"})


def test_last_job_removed_ends_the_daemon(daemon):
    d = daemon("[daemon]\nexit-when-done = yes\n[job:x]\nkind = loop\n")
    d.config.write_text("[daemon]\nexit-when-done = yes\n")
    assert d.call("Reload")["removed"] == ["x"]
    assert d.wait_exit() == 0
    assert d.lines()[-1].fields["why"] == "done"


def test_many_reloads_leave_nothing_behind(daemon):
    d = daemon(BASE)
    for i in range(100):
        d.config.write_text(BASE if i % 2 else NEXT)
        d.call("Reload")
    assert d.list().keys() == {"keep", "change", "drop"}
    status = d.status()
    assert status["jobs"]["live"] == 3
    d.signal(signal.SIGHUP)
    d.wait_for("^reload ", count=101)
    assert len(d.lines("^start job=keep")) == 1


def test_a_job_that_goes_makes_room_for_one_that_comes(daemon):
    jobs = "[job:{}]\nkind = loop\ninterval = 1h\n"
    d = daemon("[daemon]\nmax-jobs = 2\n" + jobs.format("a") + jobs.format("b"))
    d.config.write_text("[daemon]\nmax-jobs = 2\n" + jobs.format("a") + jobs.format("z"))
    assert d.call("Reload")["added"] == ["z"]
    assert d.list().keys() == {"a", "z"}


def test_log_says_what_needs_a_restart(daemon):
    d = daemon("[daemon]\nclock = monotonic\n")
    d.config.write_text("[daemon]\nclock = boottime\nbackend = poll\n")
    d.signal(signal.SIGHUP)
    line = d.wait_for("^reload added=")
    assert set(line.fields["restart-needed"].split(",")) == {"backend", "clock"}


def test_ended_jobs_that_go_make_no_room_twice(daemon):
    loop = "[job:{}]\nkind = loop\ninterval = 1h\n"
    d = daemon("[daemon]\nmax-jobs = 3\n" + loop.format("a") + "[job:b]\nkind = once\n")
    d.wait_for("^finish job=b")
    d.add({"kind": "loop", "interval": "1h", "name": "x"})
    d.config.write_text("[daemon]\nmax-jobs = 3\n" + "".join(loop.format(name) for name in "ace"))
    with pytest.raises(VarlinkError, match="max-jobs"):
        d.call("Reload")
    assert d.list().keys() == {"a", "x"}


# While it is under way. A large file takes so long to read that there is time to do something meanwhile.

QUIET = "[daemon]\nlog-level = warning\n"


def many(n, count=1000, first=0):
    return QUIET + "".join(f"[job:many-{i}]\nkind = countdown\ncount = {count}\ninterval = 1h\n"
                           for i in range(first, first + n))


@pytest.fixture
def large(daemon):
    """A daemon with 30,000 jobs."""
    # Under the address sanitizer freed memory would otherwise be kept.
    env = {"ASAN_OPTIONS": "quarantine_size_mb=1:allocator_release_to_os_interval_ms=0"}
    d = daemon(many(30000), ready=False, env=env)
    d.wait_socket()
    return d


def test_calls_are_answered_meanwhile(large):
    large.config.write_text(many(30000, count=999))
    with large.connect() as client, large.connect() as other:
        client.send("Reload")
        counts = [other.call("Status")["status"]["jobs"]["ever"] for _ in range(3)]
        assert counts == [30000] * 3, "it is not done yet"
        result, _ = client.receive()
        assert len(result["changed"]) == 1000 and result["changedCount"] == 30000, "the first thousand are named"
        assert client.call("Status")["status"]["jobs"]["ever"] == 60000
    jobs = large.list("many-2999?")
    assert {job["count"] for job in jobs.values()} == {999}


def test_a_large_reload_adds_and_removes_in_slices(large):
    large.config.write_text(many(30000, first=15000))
    result = large.call("Reload")
    assert [result[key] for key in ("addedCount", "removedCount", "unchanged")] == [15000, 15000, 15000]
    assert large.list().keys() == {f"many-{i}" for i in range(15000, 45000)}


def test_requests_behind_a_reload_are_answered_after_it(large):
    with large.connect() as client:
        client.send("Reload")
        client.send("Status")
        client.send("Reload")
        assert client.receive()[0]["unchanged"] == 30000
        assert client.receive()[0]["status"]["jobs"]["live"] == 30000
        assert client.receive()[0]["unchanged"] == 30000


def under_way(d):
    """Is a configuration being read?"""
    return any(source["purpose"] == "reload" and "read" in source["waitsFor"] for source in d.status(loop=True)["loop"])


def test_who_asks_meanwhile_gets_one_more_together(large):
    """The file may have been read before it was changed: so they wait for another, but not each for one of their own."""
    large.config.write_text(many(30000) + "[job:first]\nkind = loop\n")
    clients = [large.connect() for _ in range(5)]
    try:
        clients[0].send("Reload")
        wait_until(lambda: under_way(large))
        for client in clients[1:]:
            client.send("Reload")
        large.signal(signal.SIGHUP)
        results = [client.receive()[0] for client in clients]
    finally:
        for client in clients:
            client.close()
    assert results[0]["added"] == ["first"]
    assert [r["addedCount"] for r in results[1:]] == [0] * 4
    assert {r["unchanged"] for r in results[1:]} == {30001}


def test_the_caller_may_leave(large):
    large.config.write_text(many(30000) + "[job:new]\nkind = loop\n")
    with large.connect() as client:
        client.send("Reload")
    wait_until(lambda: "new" in large.list("new*"))


@pytest.mark.parametrize("applying", [False, True], ids=["reading", "applying"])
def test_the_end_in_the_middle(large, applying):
    """It ends at once, and says so to who waits."""
    large.config.write_text(many(30000, count=999 if applying else 1000))
    with large.connect() as client:
        client.send("Reload")
        if applying:
            wait_until(lambda: large.status()["jobs"]["ever"] > 30000)
        else:
            wait_until(lambda: under_way(large))
        large.signal(signal.SIGTERM)
        try:
            client.receive()
            assert applying, "it has been done, and there may have been no time to break it off"
        except VarlinkError as error:
            assert error.name == "InvalidConfiguration"
    assert large.wait_exit() == 0


def test_the_last_job_does_not_end_a_daemon_that_is_reading_more(daemon):
    """With exit-when-done: what has been asked for comes first."""
    one = "[daemon]\nexit-when-done = yes\nlog-level = notice\n[job:one]\nkind = once\ndelay = 1h\n"
    d = daemon(one)
    d.config.write_text(one + many(30000, count=1).replace(QUIET, "").replace("1h", "1ms"))
    with d.connect() as client:
        client.send("Reload")
        d.call("Stop", {"match": ["one"]})
        assert client.receive()[0]["addedCount"] == 30000
    assert d.wait_exit() == 0
    assert d.lines()[-1].fields["jobs"] == "30001"


def test_memory_of_the_configuration_is_given_back(large):
    """What a reload needs is no more held when it is over, nor is what the start needed."""
    for count in (999, 998, 997):
        large.config.write_text(many(30000, count=count))
        assert large.call("Reload")["changedCount"] == 30000
    before = large.proc_status("VmRSS")
    peak = large.proc_status("VmHWM")
    for count in (996, 995, 994):
        large.config.write_text(many(30000, count=count))
        large.call("Reload")
    large.wait_quiet()
    assert large.proc_status("VmRSS") < before + 2000
    assert large.proc_status("VmRSS") < peak - 4000
