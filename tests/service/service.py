"""twistyd as a unit of a machine."""

import os
import signal

from machine import CONFIG, SOCKET, UNITS, wait_until
from varlink import Client

DROP_IN = "/run/systemd/system/twistyd.service.d/test.conf"

# A unit's own entries, and what the manager says about it. The last lines of the daemon are its own by their name only:
# it has ended by the time when journald looks for its unit.
OF_UNIT = ("_SYSTEMD_UNIT=twistyd.service", "+", "SYSLOG_IDENTIFIER=twistyd", "+", "UNIT=twistyd.service")


class Service:
    """What the tests do with it. `begin` is the place in the journal where the test began."""

    def __init__(self, machine):
        self.machine = machine
        self.begin = machine.mark()

    @staticmethod
    def set_up(machine):
        """What README says to do after `make install`, but for the start."""
        machine.shell("systemd-sysusers && journalctl --update-catalog && systemctl daemon-reload")

    def restore(self):
        """As it was installed: not running, and with an open socket."""
        m = self.machine
        m.run("systemctl", "stop", *UNITS)
        m.path(DROP_IN).unlink(missing_ok=True)
        for drop_in in m.path(CONFIG + ".d").glob("*.conf"):
            drop_in.unlink()
        m.write(CONFIG, "")
        m.shell("rm -rf /var/lib/twisty")
        m.shell("systemctl daemon-reload; systemctl reset-failed twistyd.service twistyd.socket || :;"
                "systemctl start twistyd.socket")

    def configure(self, text):
        self.machine.write(CONFIG, text)

    def drop_in(self, text):
        """More settings for the unit."""
        self.machine.write(DROP_IN, text)
        self.machine.run("systemctl", "daemon-reload")

    def systemctl(self, verb, *arguments, **options):
        return self.machine.run("systemctl", verb, *arguments, "twistyd.service", **options)

    def start(self, config=None):
        if config is not None:
            self.configure(config)
        self.systemctl("start")

    def show(self, *properties):
        return self.machine.show("twistyd.service", *properties)

    def state(self):
        return self.machine.state("twistyd.service")

    def wait_state(self, *states):
        return self.machine.wait_state("twistyd.service", *states)

    def wait_status(self, text):
        """Wait until the STATUS= line begins with this."""
        wait_until(lambda: self.show("StatusText")["StatusText"].startswith(text), f"the status is {text!r}")

    def pid(self):
        """The daemon's process as seen from outside; its pid inside is MainPID."""
        inside = self.show("MainPID")["MainPID"]
        assert inside != "0", "twistyd does not run"
        return outer_pid(self.machine, int(inside))

    def kill(self, number=signal.SIGKILL):
        """The daemon's process, whichever that is now, and wait until it is gone if it dies of this."""
        pid = self.pid()
        os.kill(pid, number)
        if number == signal.SIGKILL:
            wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), "it is dead")

    # Talking to it

    def client(self):
        return Client(self.machine.path(SOCKET))

    def call(self, method, parameters=None):
        with self.client() as client:
            return client.call(method, parameters)

    def ctl(self, *args, **options):
        """twistyctl in the machine."""
        return self.machine.run("twistyctl", *args, **options)

    def list(self):
        return {job["name"]: job for job in self.call("List", {"all": True})["jobs"]}

    # What it and the manager say

    def messages(self, *matches):
        return self.machine.messages(*(matches or OF_UNIT), mark=self.begin)

    def wait_message(self, part, count=1):
        """Wait until so many of them have this in them; the last of those."""

        def found():
            hits = [message for message in self.messages() if part in message]
            return hits[count - 1 : count]

        return wait_until(found, f"the journal has {part!r}")[0]


def outer_pid(machine, inside):
    """The pid, as seen from outside, of a process in the machine."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/status", encoding="ascii", errors="replace") as status:
                    pids = next(line for line in status if line.startswith("NSpid:")).split()
                same = os.readlink(f"/proc/{entry}/ns/pid") == os.readlink(f"/proc/{machine.leader}/ns/pid")
            except (OSError, StopIteration):
                continue
            if same and int(pids[-1]) == inside:
                return int(entry)
    raise AssertionError(f"there is no process {inside} in the machine")
