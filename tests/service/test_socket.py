"""The socket: activation, clients while the daemon is away, and who may do what."""

import concurrent.futures
import os
import random
import signal
import time

import pytest

from machine import SOCKET, wait_until

ROUNDS = 10
AT_ONCE = 10  # clients before each end of the daemon, and as many after it


def ask(service):
    """A client that has asked, and waits for its reply."""
    client = service.client()
    client.send("Status")
    return client


def answers(clients):
    """The pids of those who replied to them; each must have got a reply."""
    pids = []
    for client in clients:
        with client:
            status, _ = client.receive()
            pids.append(status["status"]["pid"])
    return pids


def test_first_client_starts_the_daemon(service):
    assert service.state() == "inactive"
    assert service.ctl("list").returncode == 0
    assert service.state() == "active"
    service.wait_message("ready version=")


def test_clients_of_a_daemon_that_is_killed(service):
    """
    Ten times: it hangs, clients come, it is killed, and more come before it is back. None is refused, and each gets its
    reply from the next one. (A client that one has taken and not answered yet is hung up on; hence it hangs.)
    """
    service.start()
    connected = 0
    for _ in range(ROUNDS):
        before = service.show("MainPID")["MainPID"]
        service.kill(signal.SIGSTOP)
        clients = [ask(service) for _ in range(AT_ONCE)]
        service.kill()
        clients += [ask(service) for _ in range(AT_ONCE)]
        pids = answers(clients)
        connected += len(pids)
        assert len(set(pids)) == 1 and str(pids[0]) != before
    assert connected == 200
    assert service.show("NRestarts", "ActiveState") == {"NRestarts": str(ROUNDS), "ActiveState": "active"}
    service.wait_message("ready version=", count=ROUNDS + 1)


# What twistyctl asks again when the daemon has gone without a word; a change takes until it is on the disk.
REPEATED = ("status", "list", "show tea", "pause tea", "resume tea")


def test_callers_of_a_daemon_that_is_killed_at_any_moment(service):
    """Also those whom it had taken and not answered yet: two hundred calls, ten kills, and each call succeeds."""
    service.start()
    service.ctl("add", "countdown", "5", "--interval", "1h", "--name", "tea")
    began = time.monotonic()
    service.ctl("status")
    call_time = time.monotonic() - began
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE // 2) as pool:
        for _ in range(ROUNDS):
            pid = service.pid()
            verbs = random.choices(REPEATED, k=2 * AT_ONCE)
            calls = [pool.submit(service.ctl, *verb.split(), check=False) for verb in verbs]
            time.sleep(random.uniform(0, 2 * call_time))
            os.kill(pid, signal.SIGKILL)
            results = [call.result() for call in calls]
            assert [(r.returncode, r.stderr) for r in results] == [(0, "")] * len(calls)
            assert all(r.stdout for r in results)
    assert service.show("NRestarts", "ActiveState") == {"NRestarts": str(ROUNDS), "ActiveState": "active"}


def test_clients_of_a_daemon_that_is_restarted(service):
    """In order, as for an upgrade: also whoever was taken, and has asked, gets a reply."""
    service.start()
    for _ in range(3):
        taken = [service.client() for _ in range(AT_ONCE)]
        wait_until(lambda: service.call("Status")["status"]["connections"] == AT_ONCE + 1, "they are taken")
        service.kill(signal.SIGSTOP)
        clients = [ask(service) for _ in range(AT_ONCE)]
        for client in taken:
            client.send("Status")
        service.systemctl("restart", "--no-block")
        assert len(answers(taken)) == AT_ONCE
        assert len(answers(clients)) == AT_ONCE
    assert service.show("NRestarts")["NRestarts"] == "0"


@pytest.fixture(name="users")
def users_of_the_machine(machine):
    """ann is in the group, as README says to do it, and bob is not."""
    if machine.run("id", "ann", check=False).returncode != 0:
        machine.shell("useradd --create-home ann; useradd --create-home bob; usermod -aG twisty ann")
    return machine


def test_member_may_add_and_list(service, users):
    service.ctl("add", "countdown", "5", "--interval", "1h", "--name", "tea", user="ann")
    listed = service.ctl("list", user="ann").stdout.splitlines()
    assert len(listed) == 2 and listed[1].split()[:3] == ["tea", "countdown", "running"]
    uid = int(users.run("id", "-u", "ann").stdout)
    assert service.list()["tea"]["owner"] == uid
    service.ctl("stop", "tea", user="ann")
    service.ctl("add", "once", "--delay", "1h", "--name", "of-root")
    for verb in ("stop of-root", "reload", "shutdown"):
        refusal = service.ctl(*verb.split(), user="ann", check=False)
        assert refusal.returncode == 77 and "not permitted" in refusal.stderr, refusal.stderr


def test_stranger_is_told_what_to_do(service, users):
    for verb in ("list", "add once", "status", "reload"):
        refusal = service.ctl(*verb.split(), user="bob", check=False)
        assert refusal.returncode == 77 and refusal.stdout == ""
        assert refusal.stderr == (
            f"twistyctl: permission denied on {SOCKET}; join group 'twisty' or use sudo\n")
    assert service.state() == "inactive", "a stranger does not even start it"
