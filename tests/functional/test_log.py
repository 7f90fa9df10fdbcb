"""The journal's catalog: systemd's own compiler takes it, and it says what the code sends."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
CATALOG = TOP / "systemd" / "twisty.catalog"
REPORT = TOP / "daemon" / "report.c"


def journalctl(root, option):
    command = ["journalctl", f"--root={root}", option]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 0 and not result.stderr, f"{' '.join(command)}: {result.stderr}"
    return result.stdout


@pytest.fixture(name="root")
def compiled_catalog(tmp_path):
    source = tmp_path / "usr/lib/systemd/catalog"
    source.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(CATALOG, source)
    journalctl(tmp_path, "--update-catalog")
    return tmp_path


def ids_of_the_code():
    table = re.search(r"report_events\[REPORT_EVENTS\] = {(.*?)\n};", REPORT.read_text(), re.DOTALL)
    assert table, "no table of events in report.c"
    return re.findall(r'"[a-z-]+", "([0-9a-f]{32})"', table[1])


def test_systemd_reads_every_entry(root):
    listed = [line.split()[0] for line in journalctl(root, "--list-catalog").splitlines()]
    assert len(listed) > 0
    assert sorted(listed) == sorted(ids_of_the_code())


def test_every_entry_is_whole(root):
    entries = re.split(r"^-- [0-9a-f]{32}\n", journalctl(root, "--dump-catalog"), flags=re.MULTILINE)[1:]
    for entry in entries:
        headers, _, text = entry.partition("\n\n")
        assert re.search(r"^Subject: \S", headers, re.MULTILINE), entry
        assert "Defined-By: twisty" in headers, entry
        assert "Documentation: man:twistyd(8)" in headers, entry
        assert text.strip(), entry
        assert max(map(len, entry.splitlines())) <= 80, entry


def test_fields_that_entries_name_are_sent():
    named = set(re.findall(r"@(\w+)@", CATALOG.read_text()))
    sent = set(re.findall(r'"(TWISTY_\w+)"', REPORT.read_text()))
    assert named <= sent
