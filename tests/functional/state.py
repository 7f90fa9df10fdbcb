"""A daemon that keeps its jobs, and is started again and again in one place."""

import contextlib
import sqlite3

from harness import ROOT

SCHEMA_1 = ROOT / "tests" / "unit" / "schema-1.sql"

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

    def write_schema_1(self):
        """A file as the first twistyd with one wrote it; none is there yet. See the file of SQL for what is in it."""
        self.file.touch(mode=0o600)
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            db.executescript(SCHEMA_1.read_text(encoding="utf-8"))

    def schema(self):
        """While no daemon has it: its schema, and whether it is whole."""
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            ((version,),) = db.execute("PRAGMA user_version")
            return version, list(db.execute("PRAGMA integrity_check")) == [("ok",)]

    def rows(self):
        """What is in the file while no daemon has it: state by name."""
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            return dict(db.execute("SELECT name, state FROM jobs"))


def schedule(job):
    """What must be the same after a restart."""
    keys = ("id", "name", "kind", "count", "rate", "interval", "delay", "missedPolicy", "immediate", "background",
            "report", "message", "source", "owner")
    return {key: job[key] for key in keys}
