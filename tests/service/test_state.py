"""Jobs that outlive the daemon, in the unit's own state directory and in its sandbox."""

import time


def test_state_is_the_daemons_own(service):
    service.start()
    service.ctl("add", "loop", "--interval", "1h", "--name", "kept")
    what = service.machine.run("stat", "-c", "%U %a", "/var/lib/twisty", "/var/lib/twisty/state.db").stdout
    assert what == "_twistyd 700\n_twistyd 600\n"


def test_jobs_come_back_when_the_daemon_is_killed(service):
    """The manager starts it again; it knows which ticks it has given, and misses only those of the moment between."""
    service.start()
    service.ctl("add", "loop", "--interval", "100ms", "--name", "beat", "--report", "none")
    time.sleep(1)
    before = service.list()["beat"]
    service.kill()
    after = service.list()["beat"]  # the socket waits meanwhile
    assert service.show("NRestarts")["NRestarts"] == "1"
    assert after["id"] == before["id"] and after["ticks"] >= before["ticks"]
    assert after["missed"] < after["ticks"] + 50
    assert after["ticks"] + after["missed"] == after["elapsedNsec"] // 10**8 + 1
    service.wait_message("restored=1")


def test_jobs_come_back_after_a_restart_and_a_stop(service):
    service.start()
    service.ctl("add", "countdown", "1000", "--interval", "1h", "--name", "kept")
    before = service.list()["kept"]
    service.systemctl("restart")
    service.systemctl("stop")
    service.start()
    after = service.list()["kept"]
    assert (after["id"], after["left"]) == (before["id"], 1000)
    assert abs(after["startUsec"] - before["startUsec"]) < 100_000
