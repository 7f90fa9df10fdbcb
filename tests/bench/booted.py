#!/usr/bin/python3
"""A booted systemd for the bench, in a container that is gone afterwards: what runs only where systemd does.

Run as a program this boots it, with twistyd installed and started, and carries out commands in it: each is a line of
JSON on the standard input, a list of words; the reply is a line too. At the end of the input it is powered off, also
when the bench has crashed.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys

from frame import BUILD, PATIENCE, PROGRAMS, ROOT, BenchError, absent_command

# In namespaces of its own, as the tests of the service have it: see service.mk.
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"]


class Booted:
    """The container, up between start() and end(). `absent`: why there is none, here or now."""

    def __init__(self):
        self.absent = (absent_command("systemd-nspawn") if os.geteuid() == 0
                       else "only root can boot the container in which it runs")
        self._process = None

    def start(self):
        """Boot it; where it does not, `absent` says so."""
        if self.absent:
            return
        self._process = subprocess.Popen([*NAMESPACES, sys.executable, "-B", __file__], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                         env=os.environ | {"TWISTY_BUILD": str(BUILD)},
                                         start_new_session=True)  # Ctrl-C is for the bench, which ends this
        if self._process.stdout.readline() == "":
            self.absent = f"the container does not boot: {self.end()}"

    def end(self):
        """Power it off. The last of what it said on the standard error."""
        if self._process is None:
            return ""
        _, errors = self._process.communicate(timeout=PATIENCE)
        self._process = None
        return (errors.strip().splitlines() or ["it says nothing"])[-1]

    def run(self, *command):
        """Run a command in it; what it prints."""
        if self.absent:
            raise BenchError(self.absent)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([str(word) for word in command]) + "\n")
            self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline() or '{"error": "the container has gone"}')
        if "error" in reply:
            raise BenchError(reply["error"])
        return reply["output"]


def carry_out(machine, command):
    try:
        return {"output": machine.run(*command).stdout}
    except (AssertionError, subprocess.SubprocessError) as e:
        return {"error": str(e)}


def main():
    sys.path += [str(ROOT / "tests" / "functional"), str(ROOT / "tests" / "service")]
    from machine import Machine  # after the path to it

    with Machine("bench") as machine:
        machine.make("install")
        shutil.copy(PROGRAMS / "repeat", machine.root / "usr/local/bin")
        machine.shell("systemd-sysusers && systemctl daemon-reload && systemctl start twistyd")
        print("up", flush=True)
        for line in sys.stdin:
            print(json.dumps(carry_out(machine, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
