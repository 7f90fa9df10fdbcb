"""A daemon that keeps its jobs, and is started again and again in one place."""

import contextlib
import sqlite3
import struct
import subprocess

import pytest

from harness import ROOT

SCHEMA_1 = ROOT / "tests" / "unit" / "schema-1.sql"

HOUR = {"kind": "loop", "interval": "1h"}


MASK = (1 << 64) - 1


def siphash(key, data):
    """SipHash-2-4."""

    def rotate(x, bits):
        return (x << bits | x >> (64 - bits)) & MASK

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    v = [key[i % 2] ^ word for i, word in enumerate(struct.unpack("<4Q", b"uespemosmodnarodarenegylsetybdet"))]
    for (word,) in struct.iter_unpack("<Q", data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def row_sum(row):
    """The checksum that the daemon gives to a job."""
    numbers = ("id", "owner", "boot", "added", "t0", "since", "passed", "missed", "ended")
    total = siphash((0, 0), struct.pack("<9q", *(row[key] for key in numbers)))
    for key in ("name", "source", "state", "spec", "reason"):
        total = siphash((total, 1 if row[key] is None else 2), (row[key] or "").encode())
    return total - (1 << 64) if total >> 63 else total


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

    def forge(self, name, **columns):
        """While no daemon has it: change a job, and give it the checksum that it needs."""
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            db.row_factory = sqlite3.Row
            row = dict(db.execute("SELECT * FROM jobs WHERE name = ?", [name]).fetchone())
            assert row_sum(row) == row["sum"], "this is not how the daemon does it"
            row |= columns
            row["sum"] = row_sum(row)
            db.execute(f"UPDATE jobs SET {', '.join(f'{key} = :{key}' for key in row)} WHERE id = :id", row)
            db.commit()

    def rows(self):
        """What is in the file while no daemon has it: state by name."""
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            return dict(db.execute("SELECT name, state FROM jobs"))


def schedule(job):
    """What must be the same after a restart."""
    keys = ("id", "name", "kind", "count", "rate", "interval", "delay", "missedPolicy", "immediate", "background",
            "report", "message", "source", "owner")
    return {key: job[key] for key in keys}


@contextlib.contextmanager
def mounted(directory, *options):
    place = directory / "mnt"
    place.mkdir(exist_ok=True)
    mount = subprocess.run(["mount", *options, place], capture_output=True, text=True, check=False)
    if mount.returncode != 0:
        pytest.skip(f"cannot mount here: {mount.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place):
    """Leave no room."""
    with contextlib.suppress(OSError), open(place / "ballast", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
