"""An ordinary user's own daemon, under the user's own manager."""

import pytest

from machine import wait_until

TEA = "[daemon]\nexit-when-done = yes\n[job:tea]\nkind = countdown\ncount = 2\nrate = 20\n"


class User:
    """Somebody with a manager of their own, as after logging in."""

    def __init__(self, machine, name):
        self.machine = machine
        self.name = name
        machine.shell(f"useradd --create-home {name}; loginctl enable-linger {name}")
        self.runtime = f"/run/user/{machine.run('id', '-u', name).stdout.strip()}"
        self.socket = f"{self.runtime}/twisty/control.sock"
        wait_until(lambda: self.run("systemctl", "--user", "is-active", "basic.target", check=False).returncode == 0,
                   f"{name} has a manager")

    def run(self, *command, **options):
        return self.machine.run(*command, user=self.name, **options,
                                env={"XDG_RUNTIME_DIR": self.runtime, "HOME": f"/home/{self.name}"})

    def state(self):
        return self.run("systemctl", "--user", "is-active", "twistyd.service", check=False).stdout.strip()


@pytest.fixture(name="user", scope="module")
def user_of_the_machine(machine):
    return User(machine, "una")


@pytest.fixture(autouse=True)
def clean(user):
    yield
    user.run("systemctl", "--user", "stop", "twistyd.socket", "twistyd.service")
    user.run("sh", "-c", "rm -rf ~/.config/twisty")


def configure(user, text):
    path = f"/home/{user.name}/.config/twisty/twistyd.conf"
    user.run("sh", "-c", f"mkdir -p $(dirname {path}); cat >{path}", input=text)


def test_jobs_of_a_user(user):
    configure(user, "[job:mine]\nkind = loop\ninterval = 1h\nmessage = grün\n")
    user.run("systemctl", "--user", "start", "twistyd")
    assert user.state() == "active"
    assert user.machine.run("stat", "-c", "%U %a", user.socket).stdout == f"{user.name} 600\n"
    assert user.run("twistyctl", "list").stdout.splitlines()[1].split()[:2] == ["mine", "loop"]
    user.run("twistyctl", "add", "once", "--delay", "1h", "--name", "too")
    status = user.run("systemctl", "--user", "show", "--property=StatusText", "twistyd").stdout
    assert status.startswith("StatusText=1 job, next is ") or status.startswith("StatusText=2 jobs, next is ")

    configure(user, "[job:yours]\nkind = loop\ninterval = 1h\n")
    user.run("systemctl", "--user", "reload", "twistyd")
    assert {line.split()[0] for line in user.run("twistyctl", "list").stdout.splitlines()[1:]} == {"yours", "too"}
    assert user.machine.state("twistyd.service") == "inactive", "the system's daemon has nothing to do with it"
    other = user.machine.run("twistyctl", "--socket", user.socket, "list", user="daemon", check=False)
    assert other.returncode == 77

    user.run("systemctl", "--user", "restart", "twistyd")
    kept = user.run("twistyctl", "list").stdout.splitlines()[1:]
    assert {line.split()[0] for line in kept} == {"yours", "too"}, "what was added is kept"


def test_first_client_of_a_user_starts_it(user):
    configure(user, TEA)
    user.run("systemctl", "--user", "start", "twistyd.socket")
    assert user.state() == "inactive"
    assert "tea" in user.run("twistyctl", "list", "--all").stdout
    wait_until(lambda: user.state() == "inactive", "the jobs are done")
    journal = user.run("journalctl", "--user", "--unit=twistyd", "--output=cat", "TWISTY_EVENT=finish").stdout
    assert journal.startswith("finish job=tea"), "a user sees the lines of an own daemon"
