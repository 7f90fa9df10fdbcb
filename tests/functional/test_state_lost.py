"""A state file that is damaged, removed or replaced while the daemon runs: it is written anew, and nothing is lost."""

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from harness import wait_until
from state import HOUR, Kept, fill, mounted
from varlink import VarlinkError


@pytest.fixture
def kept(daemon, directory):
    return Kept(daemon, directory)


def provoke(d, match="j5"):
    """Have something written and read that is as it was in the end; whether it is acknowledged depends on who is first."""
    for method in ("Pause", "Resume"):
        with contextlib.suppress(VarlinkError):
            d.call(method, {"match": [match]})


def overwrite(file):
    """All pages but the first."""
    with open(file, "r+b") as f:
        size = f.seek(0, os.SEEK_END)
        f.seek(4096)
        f.write(b"\xa5" * (size - 4096))


def overwrite_in_place(file):
    """With as many bytes, as dd does."""
    size = file.stat().st_size
    with open(file, "r+b") as f:
        f.write(b"\xa5" * size)


def replace_by_another(file):
    """An older copy, say, that somebody moves into its place."""
    other = file.with_name("other")
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE precious (x)")
        db.commit()
    other.rename(file)


LOSSES = {
    "removed": os.unlink,
    "cut short": lambda file: os.truncate(file, 0),
    "replaced": replace_by_another,
    "overwritten": overwrite_in_place,
    "log overwritten": lambda file: overwrite_in_place(file.with_name("state.db-wal")),
    "log removed": lambda file: file.with_name("state.db-wal").unlink(),
    "log cut short": lambda file: os.truncate(file.with_name("state.db-wal"), 0),
    "moved away": lambda file: file.rename(file.with_name("elsewhere")),
    "directory removed": lambda file: (shutil.rmtree(file.parent), file.parent.mkdir(mode=0o700)),
}


def begin(kept, n=400):
    """A daemon with jobs in every state."""
    kept.directory = kept.directory / "daemon"
    state = kept.directory.with_name("state")
    state.mkdir(mode=0o700)
    kept.file = state / "state.db"
    kept.config = f"[daemon]\nstate = {kept.file}\nkeep-ended = 1000000\nreport-limit = 0\n"
    d = kept.start()
    d.add(*({**HOUR, "name": f"j{i}", "message": "m" * 200, "report": "none"} for i in range(n)))
    d.add({"kind": "loop", "interval": "10ms", "name": "beat", "report": "none"},
          {**HOUR, "name": "passing", "transient": True}, {**HOUR, "name": "next", "after": "j0"})
    d.call("Stop", {"match": ["j3", "j1", "j2"]})
    d.call("Pause", {"match": ["j4"]})
    return d


def picture(d):
    """What must be the same afterwards."""
    keys = ("id", "name", "state", "message", "after", "source", "owner", "kind")
    return {name: {key: job[key] for key in keys} for name, job in d.list(all=True).items() if name != "passing"}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_file_is_written_anew(kept, loss):
    d = begin(kept)
    before = picture(d)
    LOSSES[loss](kept.file)
    lost = {p.name: p.read_bytes() for p in kept.file.parent.iterdir() if p.name in ("state.db", "elsewhere")}
    wait_until(lambda: provoke(d) or d.lines("^state error"))
    line = d.wait_for("^state error=\"damaged: .*saved=")
    d.wait_for("^state recovered-after=")
    assert d.status()["degraded"] is None
    assert line.fields["saved"] == str(len(before)) and line.fields["lost"] == "0"
    aside = [p for p in kept.file.parent.glob("state.db.corrupt-*") if not p.name.endswith("-wal")]
    assert line.fields.get("aside") == (str(aside[0]) if aside else None)
    if "state.db" in lost:
        assert aside[0].read_bytes() == lost["state.db"], "nothing is ever overwritten"
    if "elsewhere" in lost:
        assert kept.file.with_name("elsewhere").read_bytes() == lost["elsewhere"]
    d.add({**HOUR, "name": "after"})
    ticks = d.list()["beat"]["ticks"]
    d.kill()
    d = kept.start()
    assert not d.lines("^state ")
    after = picture(d)
    assert after.pop("after")["state"] == "running"
    assert after == before
    assert d.list()["beat"]["ticks"] >= ticks
    assert not list(kept.file.parent.glob("*.new*")) and not list(kept.file.parent.glob("*.saved"))


def test_a_file_that_is_overwritten(kept):
    """So large that SQLite has not all of it in memory, and must read it: some commit finds it damaged."""
    d = begin(kept, 40000)
    d.signal(15)
    d.wait_exit()
    before = kept.rows()
    d = kept.start()
    with d.stalled(0):  # so that it does not see the time before that is put back
        wait_until(lambda: all(") T " in stat.read_text() for stat in Path(f"/proc/{d.pid}/task").glob("*/stat")))
        written = kept.file.stat().st_mtime_ns
        overwrite(kept.file)
        os.utime(kept.file, ns=(written, written))  # as if the disk had done it
    damaged = kept.file.read_bytes()
    wait_until(lambda: provoke(d, "j*77") or d.lines("^state error"))
    line = d.wait_for("^state error=\"damaged: it was found when it was written\" aside=")
    d.wait_for("^state recovered-after=")
    d.add({**HOUR, "name": "after"})
    d.kill()
    with open(line.fields["aside"], "rb") as file:
        assert file.read() == damaged, "it is never written to"
    assert kept.rows() == {**before, "after": "running"}
    assert kept.schema() == (2, True)


def test_a_backup_that_is_copied_over_it(kept):
    """What was acknowledged since the backup stays; a mixture of the two would look whole, and bring back what has gone."""
    d = begin(kept)
    d.signal(15)
    d.wait_exit()
    backup = kept.file.read_bytes()
    d = kept.start()
    d.call("Remove", {"match": ["j2?"]})
    before = picture(d)
    kept.file.write_bytes(backup)
    wait_until(lambda: provoke(d) or d.lines("^state recovered-after="))
    (line,) = d.lines("^state error=\"damaged: ")
    assert "by another program" in line.text and line.fields["saved"] == str(len(before))
    d.kill()
    d = kept.start()
    assert picture(d) == before


def test_the_order_of_ends_survives_it(kept):
    d = begin(kept, 10)
    kept.file.unlink()
    wait_until(lambda: provoke(d) or d.lines("^state recovered-after="))
    d.kill()
    with contextlib.closing(sqlite3.connect(kept.file)) as db:
        rows = list(db.execute("SELECT name FROM jobs WHERE ended > 0 ORDER BY ended"))
    assert [name for (name,) in rows] == ["j3", "j1", "j2"]


@pytest.mark.parametrize("wait", [True, False])
def test_the_end_of_the_daemon_finds_the_file_gone(kept, wait):
    """Nobody has noticed before, or it is in the middle of it: all is written nevertheless."""
    d = begin(kept)
    before = picture(d)
    kept.file.unlink()
    if not wait:
        with contextlib.suppress(VarlinkError):
            d.call("Pause", {"match": ["j5"]})
    d.signal(15)
    assert d.wait_exit() == 0
    d = kept.start()
    after = picture(d)
    if not wait:
        before["j5"]["state"] = "paused"
    assert after == before


def test_a_file_of_another_daemon_is_left_alone(kept, daemon, directory):
    """It was removed, and a second daemon has begun there: the first says so, and waits until it has gone."""
    d = begin(kept, 10)
    kept.file.unlink()
    second = daemon(f"[daemon]\nstate = {kept.file}\n", directory=directory / "second")
    second.add({**HOUR, "name": "theirs"})
    wait_until(lambda: provoke(d) or "another twistyd" in (d.status()["degraded"] or ""))
    second.add({**HOUR, "name": "more"})
    assert second.status()["degraded"] is None
    second.kill()
    d.wait_for("^state recovered-after=")
    (aside,) = (p for p in kept.file.parent.glob("state.db.corrupt-*") if not p.name.endswith("-wal"))
    with contextlib.closing(sqlite3.connect(aside)) as db:  # with its log
        assert {name for (name,) in db.execute("SELECT name FROM jobs")} == {"theirs", "more"}


def test_a_directory_that_has_gone(kept):
    d = begin(kept, 10)
    place = kept.file.parent
    place.rename(place.with_name("gone"))
    wait_until(lambda: provoke(d) or "make this directory" in (d.status()["degraded"] or ""))
    d.wait_for("^state error=.*make this directory.* adds=refused")
    ticks = d.list()["beat"]["ticks"]
    wait_until(lambda: d.list()["beat"]["ticks"] > ticks + 10)
    place.mkdir(mode=0o700)
    d.wait_for("^state recovered-after=")
    d.kill()
    assert kept.rows()["j4"] == "paused"


def test_many_jobs_are_written_anew_beside_the_loop(kept):
    """Meanwhile ticks come in time, and what is asked is answered."""
    d = begin(kept, 6000)
    before = picture(d)
    kept.file.unlink()
    wait_until(lambda: provoke(d) or d.status()["degraded"] is not None)
    longest, n = 0, 0
    while d.status()["degraded"] is not None:
        asked = time.monotonic()
        d.status()
        longest, n = max(longest, time.monotonic() - asked), n + 1
        if n == 3:
            with contextlib.suppress(VarlinkError):
                d.call("Stop", {"match": ["j7", "j6"]})
    d.wait_for("^state recovered-after=")
    assert longest < 0.2, "it has held up the loop"
    d.kill()
    d = kept.start()
    after = picture(d)
    if n >= 3:
        before["j6"]["state"] = before["j7"]["state"] = "stopped"
    assert after == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_disk_that_keeps_no_file_is_not_filled(kept, directory):
    """From one renewal to the next it takes longer, also when something else has failed before."""
    with mounted(directory, "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs") as place:
        kept.file = place / "state.db"
        kept.config = f"[daemon]\nstate = {kept.file}\n"
        d = kept.start()
        d.add(HOUR)
        renewed = []
        for n in range(1, 4):
            fill(place)
            with pytest.raises(VarlinkError):
                for _ in range(2000):
                    d.add({**HOUR, "message": "m" * 250})
            os.truncate(kept.file, 0)
            (place / "ballast").unlink()
            renewed.append(d.wait_for('^state error="damaged: it was cut short"', count=n).at)
            d.wait_for("^state recovered-after=", count=n)
        assert renewed[1] - renewed[0] > 0.95 and renewed[2] - renewed[1] > 1.95
        d.kill()


def test_a_renewal_that_fails_begins_again(kept):
    """A sync of the new file fails: the old one is still aside from nothing, and the next try has all."""
    d = begin(kept, 10)
    d.signal(15)
    d.wait_exit()
    trace = kept.directory / "trace"
    d = kept.start(wrapper=["strace", "-f", "-q", "-o", str(trace), "-e", "trace=rename", "-e",
                            "inject=rename:error=EIO:when=1..2"])
    before = picture(d)
    kept.file.unlink()
    provoke(d)
    d.wait_for("^state recovered-after=")
    d.kill()
    d = kept.start()
    assert picture(d) == before
