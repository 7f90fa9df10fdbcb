"""A daemon that keeps its jobs, and is started again and again in one place."""

import contextlib
import sqlite3

HOUR = {"kind": "loop", "interval": "1h"}


class Kept:
    """Daemons one after the other, with one state file."""

    def __init__(self, start, directory, settings=""):
        self._start = start
        self.directory = directory
        self.file = directory / "state.db"
        self.config = f"[daemon]\nstate = {self.file}\n{settings}"

    def start(self, **options):
        return self._start(self.config, directory=self.directory, **options)

    def rows(self):
        """What is in the file while no daemon has it: state by name."""
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            return dict(db.execute("SELECT name, state FROM jobs"))


def schedule(job):
    """What must be the same after a restart."""
    keys = ("id", "name", "kind", "count", "rate", "interval", "delay", "missedPolicy", "immediate", "background",
            "report", "message", "source", "owner")
    return {key: job[key] for key in keys}
