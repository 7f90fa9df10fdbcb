"""README's section for operators: each command is run as it is written, and says what README says that it does."""

import re
import signal
import time

import pytest

from harness import ROOT
from service import Service

SECTION = re.search(r"^## Operate it\n(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)[1]

JOBS = "[job:tea]\nkind = countdown\ncount = 500\nrate = 2\nmessage = drawing\n"


def commands():
    """(user or None, command, output) of each."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", SECTION, re.M | re.S):
        for line in block.splitlines():
            prompt = re.match(r"(\w*)\$ (.*)", line)
            if prompt:
                found.append((prompt[1] or None, prompt[2], []))
            else:
                found[-1][2].append(line)
    return found


def words(lines):
    """Without what is another one each time: numbers, and the order of a record's fields."""
    return sorted(re.findall(r"[^\s,{}]+", re.sub(r"\b[0-9a-f]+\b|\d+", "0", "\n".join(lines))))


@pytest.fixture(name="installed")
def machine_with_jobs(fresh_machine):
    fresh_machine.make("install")
    Service.set_up(fresh_machine)
    service = Service(fresh_machine)
    fresh_machine.shell("useradd --create-home ann; useradd --create-home bob; loginctl enable-linger ann")
    service.start(JOBS)
    service.wait_message("tick job=tea ")
    service.kill(signal.SIGSTOP)
    time.sleep(1.2)  # two ticks
    service.kill(signal.SIGCONT)
    service.wait_message(" missed=")
    return fresh_machine


def test_operating(installed):
    listed = commands()
    assert len(listed) > 12 and {user for user, _, _ in listed} == {None, "ann", "bob"}
    for user, command, output in listed:
        if command == "sudo make uninstall":
            installed.make("uninstall")
            continue
        env = {"HOME": f"/home/{user}"} if user else {}
        if user:
            env["XDG_RUNTIME_DIR"] = f"/run/user/{installed.run('id', '-u', user).stdout.strip()}"
        result = installed.run("bash", "-c", f'sudo() {{ "$@"; }}; {command}', user=user, env=env, check=False)
        said = (result.stdout + result.stderr).splitlines()
        refused = bool(output) and output[0].startswith("twistyctl: ")
        assert (result.returncode != 0) == refused, f"{command}: {said}"
        assert words(said) == words(output), f"{command}: {said}"
