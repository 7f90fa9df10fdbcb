"""Jobs that come back: after a clean end, a kill, with their schedule, and nothing told twice."""

import re
import time

import pytest

from harness import wait_until
from state import HOUR, Kept, schedule


@pytest.fixture
def kept(daemon, directory):
    return Kept(daemon, directory)


def end(d, how):
    if how == "killed":
        d.kill()
    else:
        d.signal(15)
        assert d.wait_exit() == 0


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_jobs_come_back(kept, how):
    d = kept.start()
    specs = [
        {"kind": "countdown", "name": "a", "count": 1000, "rate": "1/7s", "missed": "delay", "delay": "1h"},
        {"kind": "loop", "name": "x" * 40, "interval": "333333333ns", "count": 10**9, "missed": "burst",
         "immediate": False, "background": True, "report": "every 1h", "message": 'grün = "q" \\ n'},
        {"kind": "once", "delay": "2h", "report": "none"},
        {**HOUR, "name": "gone"},
        {**HOUR, "name": "passing", "transient": True},
        {**HOUR, "name": "ended"},
    ]
    d.add(*specs)
    d.call("Remove", {"match": ["gone"]})
    d.call("Stop", {"match": ["ended"]})
    before = d.list(all=True)
    end(d, how)
    d = kept.start()
    after = d.list(all=True)
    assert {n: schedule(j) for n, j in after.items()} == {
        n: schedule(j) for n, j in before.items() if n != "passing"}
    assert after["ended"]["state"] == "stopped" and after["ended"]["elapsedNsec"] == before["ended"]["elapsedNsec"]
    assert d.lines("^ready ")[0].fields["restored"] == "3" and not d.lines("^start ")
    assert abs(after["a"]["startUsec"] - before["a"]["startUsec"]) < 2000
    (new,) = d.add(HOUR)
    assert new["id"] == 7, "ids go on"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_who_waits_for_another_comes_back(kept, how):
    """Also one that was paused before its wait was over: it stays so, whatever becomes of the other meanwhile."""
    d = kept.start()
    d.add({**HOUR, "name": "first"}, {**HOUR, "name": "next", "after": "first"},
          {**HOUR, "name": "held", "after": "first"})
    d.call("Pause", {"match": ["held"]})
    end(d, how)
    d = kept.start()
    assert {n: j["state"] for n, j in d.list().items()} == {"first": "running", "next": "waiting", "held": "paused"}
    d.call("Resume", {"match": ["held"]})
    assert d.list()["held"]["state"] == "waiting"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_those_that_ended_come_back_in_the_order_of_their_ends(kept, how):
    """As is seen when more end than are kept: the first to end is the first to go."""
    kept.config += "keep-ended = 4\n"
    d = kept.start()
    d.add(*({**HOUR, "name": name} for name in "abcdef"), {"kind": "once", "delay": "50ms", "name": "g"})
    d.call("Stop", {"match": ["d", "b"]})  # in one step, in which the clock stands still
    d.call("Stop", {"match": ["c"]})
    d.call("Reset", {"match": ["b"]})
    d.wait_for("^finish job=g")
    d.call("Stop", {"match": ["b"]})
    end(d, how)
    gone = []
    for name in "aef":
        d = kept.start()
        ended = {n for n, job in d.list(all=True).items() if job["state"] in ("stopped", "finished")}
        assert len(ended) == 4
        d.call("Stop", {"match": [name]})
        gone += ended - d.list(all=True).keys()
        end(d, how)
    assert gone == ["d", "c", "g"]


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_who_is_paused_when_its_wait_ends_waits_no_more(kept, how):
    """That is no event, but it is kept: whatever becomes of the other afterwards, the job can go on."""
    d = kept.start()
    d.add({"kind": "once", "delay": "200ms", "name": "first"}, {"kind": "once", "name": "held", "after": "first"})
    d.call("Pause", {"match": ["held"]})
    d.wait_for("^finish job=first")
    wait_until(lambda: d.list()["held"]["nextNsec"] is not None)
    d.call("Remove", {"match": ["first"]})
    end(d, how)
    d = kept.start()
    assert d.list()["held"]["state"] == "paused"
    d.call("Resume", {"match": ["held"]})
    d.wait_for("^finish job=held")


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_file_of_the_first_schema(kept, how):
    """It is taken over with all that is in it, and the order in which its jobs ended is that of the times."""
    kept.write_schema_1()
    kept.config += "keep-ended = 4\n"
    d = kept.start()
    assert not d.lines("^state error")
    jobs = d.list(all=True)
    assert {n: (j["id"], j["state"], j["ticks"]) for n, j in jobs.items()} == {
        "first": (1, "stopped", 1), "second": (2, "stopped", 1), "third": (3, "finished", 1),
        "fourth": (4, "paused", 2), "fifth": (5, "failed", 0)}
    assert jobs["second"]["message"] == 'grün "q"' and "first" in jobs["fifth"]["reason"]
    assert 82_000_000 < jobs["fourth"]["nextNsec"] < 83_000_000
    assert d.add(HOUR)[0]["id"] == 6
    end(d, how)
    assert kept.schema() == (2, True)
    order = []
    for _ in range(4):
        d = kept.start()
        (new,) = d.add(HOUR)
        before = d.list(all=True).keys()
        d.call("Stop", {"match": [new["name"]]})
        order += before - d.list(all=True).keys()
        end(d, how)
    assert order == ["third", "second", "first", "fifth"]


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_restart_of_nothing_gives_no_id_twice(kept, how):
    d = kept.start()
    d.add(HOUR, HOUR)
    d.call("Remove", {"match": ["loop-*"]})
    end(d, how)
    d = kept.start()
    assert d.add(HOUR)[0]["name"] == "loop-3"


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("missed", ["coalesce", "delay", "burst"])
def test_no_tick_is_given_twice_or_lost(kept, missed, how):
    """The grid goes on; what passed meanwhile is missed as the policy says."""
    d = kept.start()
    d.add({"kind": "loop", "interval": "100ms", "name": "beat", "count": 30, "missed": missed})
    d.wait_for("^tick job=beat", count=5)
    end(d, how)
    before = d.lines("^tick job=beat")
    given, last = len(before), int(before[-1].fields["tick"])  # a busy machine may have missed some here as well
    time.sleep(0.35)
    d = kept.start()
    d.wait_for("^finish job=beat")
    ticks = [int(line.fields["tick"]) for line in d.lines("^tick job=beat")]
    missing = [line.number("missed") for line in d.lines("^tick job=beat")]
    lost = sum(missing) + sum(line.number("missed") for line in before)
    if missed == "burst":
        assert lost == 0
    else:
        assert missing[0] >= 2  # of three that passed, the last is a tick
    assert ticks[0] == last + 1 + (missing[0] if missed == "coalesce" else 0)
    assert ticks[-1] == 30 and len(set(ticks)) == len(ticks)
    assert given + len(ticks) == (30 - lost if missed == "coalesce" else 30)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_what_is_paused_stays_so(kept, how):
    d = kept.start()
    d.add({"kind": "countdown", "count": 9, "interval": "10s", "name": "p"})
    d.call("Pause", {"match": ["p"]})
    rest = d.list()["p"]["nextNsec"]
    end(d, how)
    d = kept.start()
    job = d.list()["p"]
    assert (job["state"], job["left"], job["nextNsec"]) == ("paused", 9, rest)
    (job,) = d.call("Resume", {"match": ["p"]})["jobs"]
    assert 0 < job["nextNsec"] <= rest


def test_a_finish_is_told_once(kept):
    """It was told; then the daemon was killed. Even the next one's own end does not tell it again."""
    d = kept.start()
    d.add({"kind": "countdown", "count": 2, "interval": "20ms", "name": "x"}, {"kind": "once", "name": "y"},
          {"kind": "loop", "count": 3, "interval": "20ms", "name": "z"})
    for name in "xyz":
        d.wait_for(f"^finish job={name}")
    d.kill()
    d = kept.start()
    jobs = d.list(all=True)
    assert {job["state"] for job in jobs.values()} == {"finished"}
    assert [jobs[name]["ticks"] for name in "xyz"] == [2, 1, 3]
    assert not d.lines("^(tick|finish|missed) ")


@pytest.mark.parametrize("kind", [{"kind": "countdown", "count": 3, "interval": "200ms"},
                                  {"kind": "loop", "count": 4, "interval": "200ms"}, {"kind": "once", "delay": "600ms"}])
def test_an_end_that_passed_meanwhile_comes_late(kept, kind):
    d = kept.start()
    d.add({**kind, "name": "x"})
    d.kill()
    time.sleep(1.8)
    d = kept.start()
    finish = d.wait_for("^finish job=x")
    assert re.fullmatch(r"1\.\d+s", finish.fields["late"])
    assert len(d.lines("^finish")) == 1
    assert d.list(all=True)["x"]["state"] == "finished"


def test_exit_when_done_counts_those_that_came_back(kept):
    kept.config += "exit-when-done = yes\n"
    d = kept.start()
    d.add({"kind": "once", "delay": "400ms", "name": "x"})
    d.kill()
    d = kept.start()
    d.wait_for("^finish job=x")
    assert d.wait_exit() == 0
    assert d.lines("^exit ")[0].fields["why"] == "done"


def test_configured_jobs_start_anew_and_go_before(kept):
    d = kept.start()
    d.add({**HOUR, "name": "tea"})
    end(d, "killed")
    kept.config += "[job:tea]\nkind = countdown\ncount = 5\ninterval = 1h\n"
    d = kept.start()
    assert d.list()["tea"]["source"] == "config"
    assert d.lines("^stop job=tea id=1 .*why=replaced")
    d.add(HOUR)  # it is on the disk, and so is what came before it
    end(d, "killed")
    assert "tea" not in kept.rows()
    d = kept.start()
    assert d.list()["tea"]["id"] == 4


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_configured_jobs_resume_if_asked_to(kept, how):
    begin = kept.config
    job = "kind = countdown\ncount = 1000\ninterval = 50ms\n"
    same, other, gone, done = (f"[job:{name}]\nresume = yes\n" for name in ("same", "other", "gone", "done"))
    kept.config += same + job + other + job + gone + job + done + "kind = once\n[job:anew]\n" + job
    d = kept.start()
    d.wait_for("^tick job=anew .*left=990")
    d.add(HOUR)
    before = d.list(all=True)
    end(d, how)
    kept.config = begin + same + job + other + job + "message = m\n" + done + "kind = once\n[job:anew]\n" + job
    d = kept.start()
    jobs = d.list(all=True)
    assert jobs.keys() == {"same", "other", "done", "anew", "loop-6"}
    assert jobs["same"]["id"] == before["same"]["id"] and jobs["same"]["left"] <= 990
    assert jobs["done"]["id"] == before["done"]["id"] and jobs["done"]["state"] == "finished"
    assert min(jobs["other"]["left"], jobs["anew"]["left"]) > 990
    assert min(jobs["other"]["id"], jobs["anew"]["id"]) > 6
    assert [line.fields["job"] for line in d.lines("^start ")] == ["other", "anew"]


def test_status_says_where(kept, daemon):
    d = kept.start()
    assert d.status()["stateFile"] == str(kept.file) and d.status()["degraded"] is None
    other = daemon()
    assert other.status()["stateFile"] is None
    assert "restored" not in other.lines("^ready ")[0].fields


def test_state_directory_of_the_service_manager(daemon, directory):
    d = daemon(env={"STATE_DIRECTORY": f"{directory}:/nowhere"})
    assert d.status()["stateFile"] == f"{directory}/state.db"
    d = daemon("[daemon]\nstate = none\n", env={"STATE_DIRECTORY": str(directory)})
    assert d.status()["stateFile"] is None


def test_two_daemons_do_not_share_a_state(kept, daemon, directory):
    kept.start()
    second = daemon(kept.config, directory=directory / "second", ready=False)
    assert second.wait_exit() == 69
    assert "another twistyd keeps its state here" in second.transcript()


def test_relative_path_is_refused(daemon):
    d = daemon("[daemon]\nstate = state.db\n", ready=False)
    assert d.wait_exit() == 78
    assert "daemon: state: 'state.db' is neither an absolute path nor none" in d.transcript()


def test_replies_wait_for_the_disk(kept):
    """strace: between a request and the reply to it the log of the state file is synced, and after what it tells."""
    d = kept.start(wrapper=["strace", "-f", "-o", str(kept.directory / "trace"), "-e",
                            "trace=pwrite64,fdatasync,fsync,sendmsg,writev,write,sendto"])
    with d.connect() as client:
        for i in range(20):
            client.call("Add", {"jobs": [{**HOUR, "name": f"mark-{i}"}]})
            client.call("Pause", {"match": [f"mark-{i}"]})
            client.call("Stop", {"match": [f"mark-{i}"]})
            client.call("Remove", {"match": [f"mark-{i}"]})
    end(d, "stopped")
    replies, synced = 0, True
    for line in (kept.directory / "trace").read_text(encoding="utf-8", errors="replace").splitlines():
        if re.search(r"\b(fdatasync|fsync)\(\d+\) += 0|(fdatasync|fsync) resumed>\) += 0", line):
            synced = True
        elif re.search(r'(write|writev|sendmsg|sendto)\(.*"?parameters', line):
            assert synced, f"this reply was sent before a sync that covers it: {line}"
            replies, synced = replies + 1, False
    assert replies >= 80


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_job_that_waits_for_another_still_does(kept, meanwhile):
    d = kept.start()
    d.add({"kind": "once", "delay": "700ms", "name": "first"}, {"kind": "once", "after": "first", "name": "then"})
    assert d.list()["then"]["state"] == "waiting"
    d.kill()
    if meanwhile:
        time.sleep(1)
    d = kept.start()
    d.wait_for("^finish job=then")
    assert [line.fields["job"] for line in d.lines("^finish ")] == ["first", "then"]
