"""Log lines, from a tick that is due to the receiver: our reports beside syslog(3) and sd_journal_send(). lines*.c."""

import os
import pathlib
import subprocess
import sys
import tempfile

from frame import ROOT, Bench, BenchError, Case, Figure, Promise, Side, absent_command, count_instructions, run_program

sys.path.append(str(ROOT / "tests" / "functional"))
from rsyslog import rsyslogd  # noqa: E402

# The peers know one place for their receiver. It is made to be ours in a namespace, where nobody else sees it.
NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
PROGRAMS = {
    ("report", "syslog"): "lines_report_syslog",
    ("report", "journal"): "lines_report_journal",
    ("syslog(3)", "syslog"): "lines_syslog",
    ("sd_journal_send", "journal"): "lines_sd_journal",
}


def absent(name):
    if absent_command("unshare") or subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        return "" if name == "report" else "no mount namespace may be made"
    return ""


def checked(result, lines):
    if result["lines"] != lines or result["received"] != lines or "left=" not in result["sample"]:
        raise BenchError(f"{result['received']} lines arrived, not {lines}; the last is {result['sample']!r}")
    return result


def send_to_rsyslogd(run, load):
    """What arrives is what it has written to its file."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        with rsyslogd(pathlib.Path(directory)) as receiver:
            options = ["--paced"] if load["rsyslogd"] == "paced" else []
            result = run("--receiver", receiver.socket, *options)
            receiver.wait_for("tick job=", load["lines"])
            arrived = receiver.lines()
    return result | {"received": len(arrived), "sample": arrived[-1]}


def side(name, counted=False):
    def run(load):
        def program(*options):
            start = count_instructions if counted else run_program
            return start(PROGRAMS[name, load["protocol"]], "--lines", load["lines"], *options,
                         under=() if name == "report" else NAMESPACE)

        result = checked(send_to_rsyslogd(program, load) if "rsyslogd" in load else program(), load["lines"])
        if counted:
            return result | {"per_line": round(result["instructions"] / result["lines"], 1)}
        if load.get("rsyslogd") != "paced":
            result["per_second"] = round(1e9 * result["lines"] / result["real_ns"])
        return result | {"ns": round(result["cpu_ns"] / result["lines"], 1)}

    return Side(name, run, (absent_command("valgrind") if counted else "") or absent(name),
                able=lambda load: (name, load["protocol"]) in PROGRAMS)


SIDES = ("report", "syslog(3)", "sd_journal_send")

BENCHES = (
    Bench(
        name="lines",
        title="Log lines from a tick that is due to the receiver's socket; the peers have the same text and fields",
        ours="report",
        sides=tuple(map(side, SIDES)),
        cases=(
            Case("syslog socket", {"protocol": "syslog", "lines": 300_000}, quick=True),
            Case("journal socket", {"protocol": "journal", "lines": 300_000}, quick=True),
            Case("rsyslogd, 10,000/s", {"protocol": "syslog", "lines": 10_000, "rsyslogd": "paced"}),
            Case("rsyslogd, flat out", {"protocol": "syslog", "lines": 50_000, "rsyslogd": "flat out"}),
        ),
        figures=(Figure("ns", "CPU ns per line"), Figure("per_second", "lines a second", more=True)),
        promises=(
            Promise("syslog socket", "ns", "syslog(3)", goal=1 / 0.6, check=1.2),
            Promise("journal socket", "ns", "sd_journal_send", goal=1 / 0.35, check=3.5),
            Promise("rsyslogd, 10,000/s", "ns", "syslog(3)", goal=1 / 0.6),
        ),
    ),
    Bench(
        name="lines-counted",
        title="The same, in user-space instructions (valgrind --tool=callgrind)",
        ours="report",
        sides=tuple(side(name, counted=True) for name in SIDES),
        cases=(
            Case("syslog socket", {"protocol": "syslog", "lines": 10_000}, quick=True),
            Case("journal socket", {"protocol": "journal", "lines": 10_000}),
        ),
        figures=(Figure("per_line", "instructions per line"),),
        turns=1,
        promises=(
            Promise("syslog socket", "per_line", check=1800),
            Promise("syslog socket", "per_line", "syslog(3)", check=3.5),
            Promise("journal socket", "per_line", check=4200),
            Promise("journal socket", "per_line", "sd_journal_send", check=6),
        ),
    ),
)
