"""Many jobs at once: nobody waits for all of them, and nothing is lost. The bench has the same with a million."""

import itertools

import pytest

from harness import wait_until
from varlink import DEADLINE, encode

JOBS = 20_000
CALLS = 64  # so many answers fit into the socket
SLICE = JOBS // 4  # ticks that may go before a client, and a lot more than do


def many(n=JOBS, **spec):
    return [{"kind": "loop", "report": "none", **spec} for _ in range(n)]


@pytest.fixture
def quiet_daemon(daemon):
    """One that does not fill the test's output with the lines of its jobs."""

    def start(config=None):
        d = daemon(config, ready=False, args=("--log-level", "err"))
        d.wait_socket()
        return d

    return start


def wait_ticks(d, least):
    """Wait until so many were given or missed."""
    status = {}

    def enough():
        status.update(d.status())
        return status["ticks"] + status["missed"] >= least

    wait_until(enough)
    return status


def test_a_call_waits_for_a_part_of_what_is_due(quiet_daemon):
    """Asked before the process goes on, with a tick due of every job: the answers come in between."""
    d = quiet_daemon()
    d.add(*many(interval="1s"))
    with d.connect() as client:
        before = client.call("Status")["status"]["ticks"]
        with d.stalled(1.1):
            for _ in range(CALLS):
                client.expect("Status")
            client.send_bytes(encode("Status") * CALLS)
        ticks = [before] + [client.receive()[0]["status"]["ticks"] for _ in range(CALLS)]
    waited = [after - before for before, after in itertools.pairwise(ticks)]
    assert max(waited) <= SLICE, f"{max(waited)} ticks went between two answers"
    assert sum(n > 0 for n in waited) > 2, f"the calls did not take turns with ticks: {waited}"


def test_every_tick_of_a_stopped_process_is_accounted_for(quiet_daemon):
    """Each policy in its own way: what a job has ticked and missed is where it stands on its grid, and that is now."""
    interval = 400_000  # us
    d = quiet_daemon()
    for policy in ("coalesce", "delay", "burst"):
        d.add(*many(JOBS // 4, interval="400ms", missed=policy))
    wait_ticks(d, 3 * (JOBS // 4))
    with d.stalled(1.7):
        pass
    before = d.status()
    status = wait_ticks(d, before["ticks"] + before["missed"] + 2 * 3 * (JOBS // 4))
    jobs = d.list().values()
    assert len(jobs) == 3 * (JOBS // 4)
    for job in jobs:
        points = job["ticks"] + job["missed"]
        begun = round((job["nextUsec"] - job["startUsec"]) / interval)
        assert points == begun, f"{job['name']}: {job['ticks']} ticks and {job['missed']} missed, and {begun} have come"
        assert (job["missed"] == 0) == (job["missedPolicy"] == "burst")
    assert sum(job["missed"] for job in jobs) >= status["missed"] > 0


def test_stopping_all_and_removing_all_lets_others_go_on(quiet_daemon):
    """Calls about every job are answered in the midst of others' calls; and the end of so many does not take long."""
    d = quiet_daemon(f"[daemon]\nkeep-ended = {JOBS}\n[job:beat]\nkind = loop\ninterval = 10ms\nreport = none\n")
    d.add(*many(interval="1h"))
    for method, match in (("Stop", ["loop-*"]), ("Remove", ["loop-*"])):
        with d.connect() as walker, d.connect() as other:
            walker.send(method, {"match": match}, more=True)
            listed, found, continues = [], 0, True
            while continues:
                listed.append(other.call("Status")["status"]["jobs"])
                result, continues = walker.receive()
                found += len(result["jobs"])
            assert found == JOBS
            key = "live" if method == "Stop" else "listed"
            assert len({jobs[key] for jobs in listed}) > 10, f"Status saw {method} in {listed}"
    assert d.status()["jobs"]["listed"] == 1


def test_a_lower_bound_on_ended_jobs_is_reached_in_parts(quiet_daemon):
    d = quiet_daemon(f"[daemon]\nkeep-ended = {JOBS}\n")
    d.add(*({"kind": "once", "report": "none"} for _ in range(JOBS)))
    wait_ticks(d, JOBS)
    assert d.status()["jobs"]["listed"] == JOBS
    d.config.write_text("[daemon]\nkeep-ended = 5\n")
    with d.connect() as client:
        for method in ["Reload"] + ["Status"] * CALLS:
            client.expect(method)
        client.send_bytes(encode("Reload") + encode("Status") * CALLS)
        client.receive()
        listed = {client.receive()[0]["status"]["jobs"]["listed"] for _ in range(CALLS)}
    assert any(5 < n < JOBS for n in listed), f"Status saw {listed}"
    wait_until(lambda: d.status()["jobs"]["listed"] == 5)


def test_a_daemon_with_many_jobs_ends_soon(daemon):
    """With a log that takes every line: each job's last one, and the reason."""
    d = daemon()
    d.add(*many(interval="1h"))
    assert d.call("Shutdown") is not None
    assert d.wait_exit(DEADLINE) == 0
    assert len(d.lines("^stop ")) == JOBS
    assert d.lines("^exit ")[-1].fields["stopped"] == str(JOBS)
