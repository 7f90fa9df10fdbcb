"""kill -9 at random moments under load: all that was acknowledged is there afterwards, once, and in whole batches."""

import os
import random
import threading
import time

import pytest

from state import HOUR, Kept
from varlink import Client, Closed

CYCLES = 50  # of one state file: in the end it holds some thousand jobs
CLIENTS = 4
SEEDS = range(200 if os.environ.get("TWISTY_SOAK") else 4)


class Worker:
    """One client: what it was told of its jobs, and what it had asked for when nobody answered any more."""

    def __init__(self, number, seed):
        self.prefix = f"w{number}"
        self.random = random.Random(seed * 1000 + number)
        self.serial = 0
        self.told = {}  # state by name
        self.asked = {}  # as it would be then; None: the job is no more
        self.acknowledged = 0

    def _request(self):
        """Something to ask for: a method, its parameters, and the states of jobs afterwards."""
        live = [name for name, state in self.told.items() if state in ("running", "paused")]
        what = self.random.choice(["add", "batch", "Stop", "Pause", "Remove"]) if live else "batch"
        if what in ("add", "batch"):
            names = [f"{self.prefix}-{self.serial + i}" for i in range(1 if what == "add" else 20)]
            self.serial += len(names)
            return "Add", {"jobs": [{**HOUR, "name": name} for name in names]}, dict.fromkeys(names, "running")
        chosen = self.random.sample(live, min(len(live), self.random.randint(1, 5)))
        then = {"Stop": "stopped", "Pause": "paused", "Remove": None}[what]
        return what, {"match": chosen}, dict.fromkeys(chosen, then)

    def _learn(self, states):
        for name, state in states.items():
            if state is None:
                self.told.pop(name, None)
            else:
                self.told[name] = state

    def run(self, path):
        """Ask and learn until the daemon is gone."""
        try:
            with Client(path) as client:
                while True:
                    method, parameters, self.asked = self._request()
                    client.call(method, parameters)
                    self._learn(self.asked)
                    self.asked = {}
                    self.acknowledged += 1
        except (Closed, OSError):
            pass

    def check(self, found):
        """Everything told is so; what was asked for is done wholly or not at all. Then take it as it is."""
        mine = {name: job["state"] for name, job in found.items() if name.startswith(self.prefix + "-")}
        done = {**self.told, **self.asked}
        done = {name: state for name, state in done.items() if state is not None}
        assert mine in (self.told, done), difference(self.told, self.asked, mine)
        self.told, self.asked = mine, {}


def difference(told, asked, found):
    names = told.keys() | asked.keys() | found.keys()
    wrong = {n: (told.get(n), asked.get(n, "-"), found.get(n)) for n in names if told.get(n) != found.get(n)}
    return f"job: (told, asked, found): {wrong}"


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost(daemon, directory, seed):
    kept = Kept(daemon, directory, "keep-ended = 1000000\nlog-level = warning\n")
    moments = random.Random(seed)
    workers = [Worker(i, seed) for i in range(CLIENTS)]
    seen = set()
    for _ in range(CYCLES):
        d = kept.start(ready=False)
        d.pid = d.process.pid
        jobs = {}
        d.wait_socket()
        for reply in stream_all(d):
            for job in reply["jobs"]:
                assert job["name"] not in jobs, "a job is there twice"
                jobs[job["name"]] = job
        ids = {job["id"] for job in jobs.values()}
        assert len(ids) == len(jobs)
        for worker in workers:
            worker.check(jobs)
        seen |= ids
        threads = [threading.Thread(target=worker.run, args=(d.socket,)) for worker in workers]
        for thread in threads:
            thread.start()
        time.sleep(moments.uniform(0, 0.04))
        d.kill()
        for thread in threads:
            thread.join()
    assert sum(worker.acknowledged for worker in workers) > CYCLES, "hardly anything was acknowledged"


def stream_all(d):
    with d.connect() as client:
        yield from client.stream("List", {"all": True})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_renewal_may_be_killed_at_any_time(daemon, directory, seed):
    """The file is cut short under a daemon; the next one finds all jobs in a file that was put in place, or says so."""
    moments = random.Random(seed)
    kept = Kept(daemon, directory, "log-level = notice\n")
    for _ in range(12):
        for old in directory.glob("state.db*"):
            old.unlink()
        d = kept.start()
        d.add(*({**HOUR, "name": f"j{i}", "report": "none"} for i in range(1500)))
        os.truncate(kept.file, 0)
        with d.connect() as client:
            client.send("Pause", {"match": ["j0"]})
            d.wait_for("^state error=.*adds=refused")
            time.sleep(moments.uniform(0.08, 0.2))  # it begins after a tenth of a second
            recovered = bool(d.lines("^state recovered-after="))
            d.kill()
        d = kept.start()
        lost = d.lines('^state error="damaged: ')
        assert lost or len(d.list()) == 1500, "jobs are missing, and nothing is said"
        assert not (recovered and lost), "it was whole, and is damaged now"
        d.kill()
