"""When the disk misbehaves: nothing is promised that cannot be kept, ticks go on, and it comes back by itself."""

import contextlib
import os
import re
import select
import subprocess
import threading
import time

import pytest

from harness import wait_until
from state import HOUR, Kept, fill, mounted
from varlink import Closed, VarlinkError

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")

@pytest.fixture
def kept(daemon, directory):
    return Kept(daemon, directory)


def refused(d, method, parameters):
    with pytest.raises(VarlinkError) as error:
        d.call(method, parameters)
    assert error.value.name == "NotDurable", error.value
    return error.value.parameters


def assert_degraded(d, reason):
    """All of it: what is refused and what is not, and who says so."""
    d.wait_for(f'^state error="[^"]*{reason}[^"]*" adds=refused')
    assert reason in d.status()["degraded"]
    said = refused(d, "Add", {"jobs": [{**HOUR, "name": "no"}]})
    assert reason in said["reason"] and said["inForce"] is False
    assert "no" not in d.list(all=True)
    d.add({**HOUR, "name": "passing", "transient": True})
    d.call("Remove", {"match": ["passing"]})
    assert "degraded" in d.ctl("status").stdout
    failure = d.ctl("add", "loop", "--interval", "1h", check=False)
    assert failure.returncode == 1 and reason in failure.stderr


def assert_recovered(d, kept):
    d.wait_for("^state recovered-after=")
    assert d.status()["degraded"] is None
    d.add({**HOUR, "name": "after"})
    d.kill()
    d = kept.start()
    assert "after" in d.list()
    return d


@NEEDS_ROOT
def test_a_full_disk(kept, directory):
    with mounted(directory, "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs") as place:
        kept.file = place / "state.db"
        kept.config = f"[daemon]\nstate = {kept.file}\n"
        d = kept.start()
        d.add({**HOUR, "name": "a"}, {**HOUR, "name": "b"}, {"kind": "loop", "interval": "20ms", "name": "beat"})
        fill(place)
        # What has room in the log goes on for a while.
        with pytest.raises(VarlinkError) as error:
            for i in range(1000):
                d.add({**HOUR, "name": f"more-{i}", "message": "m" * 250})
        assert error.value.name == "NotDurable" and error.value.parameters["inForce"] is False
        assert f"more-{i}" not in d.list(all=True), "it is undone"
        assert_degraded(d, "No space left")
        assert refused(d, "Pause", {"match": ["a"]})["inForce"] is True
        assert refused(d, "Stop", {"match": ["b"]})["inForce"] is True
        assert d.list()["a"]["state"] == "paused"
        before = d.list()["beat"]["ticks"]
        wait_until(lambda: d.list()["beat"]["ticks"] > before + 5)
        (place / "ballast").unlink()
        d = assert_recovered(d, kept)
        jobs = d.list(all=True)
        assert (jobs["a"]["state"], jobs["b"]["state"]) == ("paused", "stopped"), "kept when there was room again"
        assert not {"no", f"more-{i}"} & jobs.keys()
        d.kill()


@NEEDS_ROOT
def test_a_full_disk_takes_no_configured_job(kept, directory):
    """Those that resume are kept as well, but nobody has to promise them: the file has them."""
    with mounted(directory, "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs") as place:
        kept.file = place / "state.db"
        kept.config = f"[daemon]\nstate = {kept.file}\n"
        d = kept.start()
        fill(place)
        sections = "".join(f"[job:c{i}]\nkind = loop\ninterval = 1h\nresume = yes\nmessage = {'m' * 100}\n"
                           for i in range(200))
        d.config.write_text(kept.config + sections)
        assert refused(d, "Reload", {})["inForce"] is True, "it is never refused, but it is not kept yet"
        d.wait_for("^reload added=200 ")
        d.wait_for('^state error="[^"]*No space left')
        assert len(d.list()) == 200
        (place / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", place], check=True)
        d.wait_for("^state recovered-after=")
        d.kill()
        assert len(kept.rows()) == 200


@NEEDS_ROOT
@pytest.mark.parametrize("then", ["room", "killed"])
def test_a_full_disk_when_the_schema_is_old(kept, directory, then):
    """What cannot be migrated for now is read as it is; it is still whole, and migrated when there is room."""
    with mounted(directory, "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs") as place:
        kept.file = place / "state.db"
        kept.config = f"[daemon]\nstate = {kept.file}\n"
        kept.write_schema_1()
        fill(place)
        d = kept.start()
        assert d.list()["fourth"]["state"] == "paused"
        assert_degraded(d, "No space left")
        assert refused(d, "Stop", {"match": ["fourth"]})["inForce"] is True
        if then == "killed":
            d.kill()
            (place / "ballast").unlink()
            assert kept.schema() == (1, True)
            d = kept.start()
            assert d.list()["fourth"]["state"] == "paused", "as it was"
            d.kill()
        else:
            (place / "ballast").unlink()
            d = assert_recovered(d, kept)
            assert d.list(all=True)["fourth"]["state"] == "stopped"
            d.kill()
        assert kept.schema() == (2, True)


@pytest.mark.parametrize("call", ["fdatasync,fsync", "pwrite64"])
def test_a_disk_that_fails_while_the_schema_is_changed(kept, call):
    """At every call in turn, as far as a migration goes, and for good: nothing of it is kept, and the next start has it."""
    kept.write_schema_1()
    names, schemas = {"first", "second", "third", "fourth", "fifth"}, []
    while not schemas or schemas[-1] == 1:
        when = len(schemas) + 1
        d = kept.start(wrapper=["strace", "-f", "-q", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                                f"inject={call}:error=EIO:when={when}+"])
        assert d.list(all=True).keys() == names, "it is read as it is"
        d.kill()
        schema, is_whole = kept.schema()
        assert is_whole
        schemas.append(schema)
    assert len(schemas) > 1, "no call of a migration failed"
    d = kept.start()
    assert d.list(all=True).keys() == names
    assert d.status()["degraded"] is None


@NEEDS_ROOT
def test_no_inodes(kept, directory):
    """Not even an empty file can be made at the start."""
    with mounted(directory, "-t", "tmpfs", "-o", "nr_inodes=2,mode=700", "tmpfs") as place:
        (place / "ballast").touch()
        kept.config = f"[daemon]\nstate = {place}/state.db\n[job:beat]\nkind = loop\ninterval = 20ms\n"
        d = kept.start()
        assert_degraded(d, "No space left")
        d.wait_for("^tick job=beat", count=5)
        (place / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,nr_inodes=100", place], check=True)
        d = assert_recovered(d, kept)
        d.kill()


@NEEDS_ROOT
def test_no_inode_for_a_log(kept, directory):
    """The file is there, and can be read; to write it takes another one beside it."""
    with mounted(directory, "-t", "tmpfs", "-o", "nr_inodes=5,mode=700", "tmpfs") as place:
        kept.file = place / "state.db"
        kept.config = f"[daemon]\nstate = {kept.file}\n"
        d = kept.start()
        d.add({**HOUR, "name": "a"})
        d.signal(15)
        d.wait_exit()
        with contextlib.suppress(OSError):
            for i in range(10):
                (place / f"ballast{i}").touch()
        d = kept.start()
        assert d.list()["a"]["id"] == 1
        assert_degraded(d, "No space left")
        (place / "ballast0").unlink()
        d = assert_recovered(d, kept)
        assert "a" in d.list()
        d.kill()


@NEEDS_ROOT
def test_a_disk_that_is_read_only(kept, directory):
    with mounted(directory, "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs") as place:
        kept.config = f"[daemon]\nstate = {place}/state.db\n"
        d = kept.start()
        d.add({**HOUR, "name": "a"})
        d.signal(15)
        d.wait_exit()
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        d = kept.start()
        assert d.list()["a"]["id"] == 1, "it can be read"
        assert_degraded(d, "Read-only")
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        d = assert_recovered(d, kept)
        assert "a" in d.list()
        d.kill()


def faulty(kept, fault):
    """The daemon under strace, which makes system calls fail or wait."""
    return kept.start(wrapper=["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e",
                               f"inject=fdatasync,fsync:{fault}"])


def test_a_sync_that_fails(kept):
    """The first three are those of a start; from then on each second fails for some time."""
    d = kept.start()
    d.add({**HOUR, "name": "a"})
    d.signal(15)
    d.wait_exit()
    d = faulty(kept, "error=EIO:when=3..6")
    with contextlib.suppress(VarlinkError):
        for i in range(5):
            d.add({**HOUR, "name": f"more-{i}"})
    d.wait_for('^state error="[^"]*Input/output error')
    d.wait_for("^state recovered-after=")
    d.add({**HOUR, "name": "after"})
    d.kill()
    d = kept.start()
    assert {"a", "after"} <= d.list().keys()
    assert f"more-{i}" not in d.list(), "it was refused"


def test_a_sync_that_takes_long(kept):
    """Two seconds each: ticks do not wait, other clients do not, and replies come when what they tell of is kept."""
    d = kept.start()
    d.signal(15)
    d.wait_exit()
    d = faulty(kept, "delay_enter=2000000:when=4+")
    d.add({"kind": "loop", "interval": "10ms", "name": "beat", "transient": True, "report": "none"})
    with d.connect() as client:
        began = time.monotonic()
        client.send("Add", {"jobs": [HOUR]})
        client.send("List")
        ticks, longest = d.list()["beat"]["ticks"], 0
        while time.monotonic() < began + 1.5:
            asked = time.monotonic()
            d.status()
            longest = max(longest, time.monotonic() - asked)
        assert d.list()["beat"]["ticks"] - ticks > 100
        assert longest < 1, "another client had to wait"
        assert "jobs" in client.receive()[0]
        assert time.monotonic() > began + 1.5, "the reply did not wait for the disk"
        assert "jobs" in client.receive()[0], "the next reply comes after it"


def test_the_reply_to_a_reload_waits_for_the_disk(kept):
    """If it changed jobs that are kept; each sync takes a second."""
    plain = "[job:plain]\nkind = loop\ninterval = 1h\n"
    resumed = "[job:resumed]\nkind = loop\ninterval = 1h\nresume = yes\n"
    d = kept.start()
    d.signal(15)
    d.wait_exit()
    d = faulty(kept, "delay_enter=1000000:when=4+")
    for sections, waits in ((plain, False), (plain + resumed, True), (plain, True), ("", False)):
        d.config.write_text(kept.config + sections)
        began = time.monotonic()
        reply = d.call("Reload")
        took = time.monotonic() - began
        assert reply["addedCount"] + reply["removedCount"] == 1
        assert took > 0.9 if waits else took < 0.9, (sections, took)
        if sections == plain + resumed:
            assert d.status()["degraded"] is None
    d.kill()
    assert not kept.rows()


def hang(client):
    """Change something until the disk hangs in it: how many syncs a start takes is not always the same."""
    for method in ("Pause", "Resume") * 10:
        client.send(method, {"match": ["b"]})
        if not select.select([client.socket], [], [], 0.7)[0]:
            return
        client.receive()
    pytest.fail("the disk does not hang")


@pytest.mark.parametrize("fault", ["delay_enter=3000000:error=EIO", "delay_enter=13000000"])
def test_who_waits_for_the_disk_when_the_daemon_ends(kept, fault):
    """It fails, or hangs for longer than the daemon waits: each caller hears that what it asked for is not kept."""
    d = kept.start()
    d.add({**HOUR, "name": "a"}, {**HOUR, "name": "b"})
    d.signal(15)
    d.wait_exit()
    d = faulty(kept, f"{fault}:when=3+")
    calls = [("Add", {"jobs": [HOUR]}, False), ("Pause", {"match": ["a"]}, True), ("Remove", {"match": ["b"]}, True)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(d.connect()) for _ in range(4)]
        hang(clients[3])
        for client, (method, parameters, _) in zip(clients, calls):
            client.send(method, parameters)
        clients[0].send("Status")  # it is answered after the Add
        d.status()
        d.signal(15)
        for client, in_force in zip(clients, [in_force for _, _, in_force in calls] + [True]):
            with pytest.raises(VarlinkError) as error:
                client.receive()
            assert error.value.name == "NotDurable"
            assert error.value.parameters["inForce"] is in_force
            assert str(kept.file) in error.value.parameters["reason"]
        assert "status" in clients[0].receive()[0]
        for client in clients:
            with pytest.raises(Closed):
                client.receive()
    d.wait_for('^state error="' + re.escape(str(kept.file)))  # the log tells as well, before it ends
    d.wait_for("^exit why=SIGTERM")
    assert d.wait_exit() == 0


def test_many_that_cannot_be_kept_are_undone_beside_the_loop(kept):
    """Twenty thousand new jobs, when the disk fails after it has hung: whoever is told so finds none of its own."""
    kept.config += "log-level = err\n"
    d = kept.start(ready=False)
    d.wait_socket()
    d.signal(15)
    d.wait_exit()
    d = kept.start(ready=False, wrapper=["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e",
                                         "inject=fdatasync,fsync:delay_enter=1500000:error=EIO:when=3+"])
    d.pid = d.wait_socket()["pid"]
    d.add({"kind": "loop", "interval": "10ms", "name": "beat", "transient": True})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(d.connect()) for _ in range(20)]
        for client in clients:
            client.send("Add", {"jobs": [{**HOUR, "immediate": False}] * 1000, "brief": True})
        sockets, refused_adds, longest = [client.socket for client in clients], 0, 0
        d.status()  # comes after all of them
        while len(select.select(sockets, [], [], 0)[0]) < len(sockets):
            asked = time.monotonic()
            d.status()
            longest = max(longest, time.monotonic() - asked)
        for client in clients:
            try:
                client.receive()
            except VarlinkError as error:
                assert error.name == "NotDurable" and error.parameters["inForce"] is False
                refused_adds += 1
        assert refused_adds >= 1, "some may have been kept before the disk hung"
        assert d.status()["jobs"]["listed"] == 1 + 1000 * (len(clients) - refused_adds)
    assert longest < 0.3, "it has held up the loop"
    assert d.list()["beat"]["state"] == "running"
    d.kill()


def test_who_changes_nothing_waits_for_no_disk(kept):
    """When as much waits for the disk as may wait, those who would add to it wait as well, and everybody else does not."""
    kept.config += "max-jobs = 100000\n"
    d = kept.start()
    d.signal(15)
    d.wait_exit()
    d = faulty(kept, "delay_enter=60000000:when=4+")
    d.add({"kind": "loop", "interval": "10ms", "name": "beat", "transient": True, "report": "none"})
    with d.connect() as first, d.connect() as many, d.connect() as watcher:
        watcher.send("Watch", {"match": ["beat"]}, more=True)
        first.send("Add", {"jobs": [HOUR]})
        kept_at_once = 0  # how many syncs a start takes is not always the same
        while select.select([first.socket], [], [], 2)[0]:
            first.receive()
            first.send("Add", {"jobs": [HOUR]})
            kept_at_once += 1

        def fill_the_line():
            for _ in range(80):
                many.send("Add", {"jobs": [HOUR] * 1000, "brief": True}, oneway=True)

        sender = threading.Thread(target=fill_the_line)
        sender.start()
        wait_until(lambda: d.status()["jobs"]["live"] >= 65536)
        counts = []
        for _ in range(2):
            for _ in range(20):
                watcher.receive()
            counts.append(d.status()["jobs"]["live"])
        assert not select.select([first.socket], [], [], 0)[0], "a status, or an event, came only when the disk was free"
        assert counts[0] == counts[1] < 70000, "nobody was held up"
        d.process.kill()  # strace, and with it the delay
        wait_until(lambda: d.status()["jobs"]["live"] == 80002 + kept_at_once)
        sender.join()
    d.kill()


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "one byte"])
def test_a_damaged_file_is_set_aside(kept, damage):
    d = kept.start()
    d.add(*({**HOUR, "name": f"j{i}"} for i in range(100)))
    d.signal(15)
    d.wait_exit()
    whole = kept.file.read_bytes()
    at = whole.rindex(b"j42")
    bad = {"truncated": whole[: len(whole) // 2], "text": b"[daemon]\n", "empty": b"",
           "one byte": whole[:at] + b"k" + whole[at + 1 :]}[damage]
    kept.file.write_bytes(bad)
    d = kept.start()
    line = d.wait_for('^state error="damaged: ')
    (aside,) = kept.directory.glob("state.db.corrupt-*")
    assert aside.read_bytes() == bad
    assert line.fields["aside"] == str(aside)
    jobs = d.list()
    assert len(jobs) == int(line.fields["saved"])
    if damage == "one byte":
        assert len(jobs) == 99 and "j42" not in jobs
    (new,) = d.add({**HOUR, "name": "after"})
    assert new["id"] > max((job["id"] for job in jobs.values()), default=0)
    d.kill()
    d = kept.start()
    assert d.list().keys() == {*jobs, "after"}
    assert not d.lines("^state "), "it is told once"


def test_a_file_of_a_newer_daemon_is_refused(kept):
    d = kept.start()
    d.signal(15)
    d.wait_exit()
    data = bytearray(kept.file.read_bytes())
    data[60:64] = (99).to_bytes(4, "big")  # user_version: https://sqlite.org/fileformat.html
    kept.file.write_bytes(data)
    d = kept.start(ready=False)
    assert d.wait_exit() == 1
    assert "was written by a newer twistyd (schema 99, this one knows 2)" in d.transcript()
    assert kept.file.read_bytes() == data

@pytest.mark.parametrize("state", ["waiting", "waiting-paused"])
def test_who_waits_for_nobody_is_left_out(kept, state):
    """It cannot have been written, but has the right checksum."""
    d = kept.start()
    d.add(HOUR | {"name": "good"}, HOUR | {"name": "bad"})
    d.signal(15)
    d.wait_exit()
    kept.forge("bad", state=state)
    d = kept.start()
    d.wait_for('^state job=bad id=2 error="it waits for another one, and for none"')
    assert d.list().keys() == {"good"}


def test_files_of_others_are_refused(kept):
    victim = kept.directory / "victim"
    victim.write_text("precious")
    kept.file.symlink_to(victim)
    d = kept.start(ready=False)
    assert d.wait_exit() == 1
    assert "is a link" in d.transcript() and victim.read_text() == "precious"

@pytest.mark.parametrize("mode, taken", [(0o777, False), (0o770, False), (0o1777, False), (0o755, True), (0o700, True)],
                         ids=oct)
def test_directories_that_others_may_write_to_are_refused(kept, mode, taken):
    """In a sticky one somebody could still make the log, with any jobs, of a file that has none."""
    place = kept.directory / "place"
    place.mkdir()
    place.chmod(mode)
    kept.config = f"[daemon]\nstate = {place}/state.db\n"
    d = kept.start(ready=taken)
    if not taken:
        assert d.wait_exit() == 1
        assert "others may write to this directory; chmod go-w it, or set another state" in d.transcript()
        assert not list(place.iterdir())


def test_a_log_without_its_file_is_set_aside(kept):
    log = kept.file.with_name("state.db-wal")
    log.write_bytes(b"x" * 4096)
    d = kept.start()
    d.wait_for('^state error="damaged: there was nothing but its log" aside=".*/state.db.corrupt-')
    (aside,) = kept.directory.glob("state.db.corrupt-*-wal")
    assert aside.read_bytes() == b"x" * 4096


def test_missing_directory(kept):
    kept.config = f"[daemon]\nstate = {kept.directory}/nowhere/state.db\n"
    d = kept.start(ready=False)
    assert d.wait_exit() == 1
    assert "make this directory, or set another state" in d.transcript()
