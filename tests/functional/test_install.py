"""make install and uninstall, and what they put there: systemd's own tools read each file."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from harness import BUILD, DEADLINE, ROOT

UNITS = ("twistyd.service", "twistyd.socket")
CONFIG = "etc/twisty/twistyd.conf"
DROPINS = "etc/twisty/twistyd.conf.d"
PLACES = ("PREFIX", "SYSCONFDIR", "MANDIR", "COMPLETIONDIR", "UNITDIR", "USERUNITDIR", "SYSUSERSDIR", "CATALOGDIR", "DESTDIR")


def run(*command, check=True, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, **options)
    if check:
        assert result.returncode == 0, f"{command} ends with {result.returncode}:\n{result.stdout}{result.stderr}"
    return result


def make(target, root, *variables, **options):
    """As packagers call it, with what is built already (-o): tests that run side by side must not build.

    Where things go is not to be taken from the environment of the tests.
    """
    env = {k: v for k, v in os.environ.items() if k not in PLACES}
    run("make", "-s", "-o", "all", target, f"B={BUILD}", f"DESTDIR={root}", *variables, cwd=ROOT, env=env, **options)


def systemd_dir(variable):
    return run("pkg-config", f"--variable={variable}", "systemd").stdout.strip().lstrip("/")


@pytest.fixture(name="root")
def installed_root(tmp_path):
    make("install", tmp_path)
    return tmp_path


def modes(root):
    """Of all files, by path."""
    return {str(p.relative_to(root)): stat.S_IMODE(p.stat().st_mode) for p in root.rglob("*") if not p.is_dir()}


def expected_modes(prefix="usr"):
    units, user_units = systemd_dir("systemdsystemunitdir"), systemd_dir("systemduserunitdir")
    return {
        f"{prefix}/sbin/twistyd": 0o755,
        f"{prefix}/bin/twistyctl": 0o755,
        f"{units}/twistyd.service": 0o644,
        f"{units}/twistyd.socket": 0o644,
        f"{user_units}/twistyd.service": 0o644,
        f"{user_units}/twistyd.socket": 0o644,
        f"{systemd_dir('sysusersdir')}/twisty.conf": 0o644,
        f"{systemd_dir('catalogdir')}/twisty.catalog": 0o644,
        f"{prefix}/share/bash-completion/completions/twistyctl": 0o644,
        f"{prefix}/share/man/man1/twistyctl.1": 0o644,
        f"{prefix}/share/man/man5/twistyd.conf.5": 0o644,
        f"{prefix}/share/man/man8/twistyd.8": 0o644,
        CONFIG: 0o644,
    }


def commands_of_unit(root, variable):
    text = (root / systemd_dir(variable) / "twistyd.service").read_text(encoding="utf-8")
    return re.findall(r"^Exec\w+=[^/]*(/\S+)", text, re.MULTILINE)


# install and uninstall


def test_each_file_is_in_its_place(tmp_path):
    make("install", tmp_path, umask=0o077)
    assert modes(tmp_path) == expected_modes()
    closed = [p for p in tmp_path.rglob("*") if p.is_dir() and stat.S_IMODE(p.stat().st_mode) != 0o755]
    assert not closed, "directories that not everybody can enter"
    assert (tmp_path / DROPINS).is_dir()
    run(tmp_path / "usr/bin/twistyctl", "--version")
    run(tmp_path / "usr/sbin/twistyd", "--check", "-c", tmp_path / CONFIG)


@pytest.mark.parametrize("prefix", ["usr", "usr/local", "opt/twisty"])
def test_unit_starts_what_was_installed(tmp_path, prefix):
    make("install", tmp_path, f"PREFIX=/{prefix}")
    assert modes(tmp_path) == expected_modes(prefix)
    for variable in ("systemdsystemunitdir", "systemduserunitdir"):
        assert commands_of_unit(tmp_path, variable) == [f"/{prefix}/sbin/twistyd", f"/{prefix}/bin/twistyctl"]


def test_uninstall_leaves_the_configuration(root):
    dropin = root / DROPINS / "10-mine.conf"
    dropin.write_text("[daemon]\n", encoding="utf-8")
    make("uninstall", root)
    assert set(modes(root)) == {CONFIG, f"{DROPINS}/10-mine.conf"}
    make("uninstall", root)  # nothing there is no error


def test_configuration_is_not_overwritten(root):
    (root / CONFIG).write_text("[daemon]\nlog-level = debug\n", encoding="utf-8")
    (root / CONFIG).chmod(0o640)
    make("install", root)
    assert (root / CONFIG).read_text(encoding="utf-8") == "[daemon]\nlog-level = debug\n"
    assert modes(root) == {**expected_modes(), CONFIG: 0o640}


# What systemd thinks of the files


def verify(root):
    return run("systemd-analyze", "verify", "--man=no", f"--root={root}", *UNITS, check=False)


@pytest.fixture(name="system")
def root_with_targets(root):
    """With the targets and slices of this machine, which every unit refers to."""
    units = systemd_dir("systemdsystemunitdir")
    for pattern in ("*.target", "*.slice", "*.mount"):
        for unit in Path("/", units).glob(pattern):
            shutil.copy(unit, root / units, follow_symlinks=False)
    return root


def test_units_are_right(system):
    result = verify(system)
    assert result.returncode == 0 and not result.stderr, result.stderr


def test_verify_sees_what_is_wrong(system):
    """That the test above can fail: systemd-analyze ends with 0 on an unknown key, for one."""
    unit = system / systemd_dir("systemdsystemunitdir") / "twistyd.service"
    unit.write_text(unit.read_text(encoding="utf-8").replace("WatchdogSec=", "WachdogSec="), encoding="utf-8")
    assert "WachdogSec" in verify(system).stderr
    (system / "usr/sbin/twistyd").unlink()
    assert verify(system).returncode != 0


def settings(name):
    """The settings of a unit file by key; a list each."""
    found = {}
    for line in (ROOT / "systemd" / name).read_text(encoding="utf-8").splitlines():
        if re.match(r"\w+=", line):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def exposure(root, drop_in=None, threshold=100):
    """What systemd-analyze thinks of the service, with this file of systemd/examples; it fails beyond the threshold."""
    units = root / "etc/systemd/system"
    shutil.copytree(ROOT / "systemd", units, ignore=lambda *_: {"debian", "examples", "user"})
    if drop_in is not None:
        (units / "twistyd.service.d").mkdir()
        shutil.copy(drop_in, units / "twistyd.service.d")
    result = run("systemd-analyze", "security", "--offline=true", f"--threshold={threshold}", "--no-pager",
                 f"--root={root}", "twistyd.service")
    return float(re.search(r"Overall exposure level for twistyd.service: (\d+\.\d)", result.stdout)[1])


def test_sandbox_is_as_tight_as_it_can_be(tmp_path):
    assert exposure(tmp_path, threshold=4) <= 0.4
    assert "PrivateUsers" not in settings("twistyd.service"), "it hides who the clients are"


DROP_INS = sorted((ROOT / "systemd" / "examples").glob("*.conf"))
DROP_INS = [path for path in DROP_INS if "[Service]" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", DROP_INS, ids=[path.stem for path in DROP_INS])
def test_drop_ins_say_how_much_they_expose(tmp_path, path):
    said = re.search(r"^# Exposure.*: (\d\.\d) \((\d\.\d) without", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert said, "it does not say so"
    assert float(said[1]) == exposure(tmp_path / "with", path)
    assert float(said[2]) == exposure(tmp_path / "without")


def test_units_fit_the_program(root):
    service, passed = settings("twistyd.service"), settings("twistyd.socket")
    usage = run(root / "usr/sbin/twistyd", "--help").stdout
    assert f"default: {passed['ListenStream'][0]} as root" in usage
    assert service["Sockets"] == service["Requires"] == ["twistyd.socket"]
    assert service["Type"] == ["notify"]
    (preventing,) = service["RestartPreventExitStatus"]
    assert preventing.split() == ["64", "69", "78"]
    assert re.search(r"64 wrong usage, 69 another daemon has the socket,\s+78 mistakes", usage)


def test_configuration_directory(root):
    """As systemd passes it: a user's manager has it in that user's home."""
    own = root / "own"
    own.mkdir()
    (own / "twistyd.conf").write_text("[job:a]\nkind = once\n[job:b]\nkind = once\n", encoding="utf-8")
    env = {**os.environ, "CONFIGURATION_DIRECTORY": str(own)}
    assert run(root / "usr/sbin/twistyd", "--check", env=env).stdout == f"{own}/twistyd.conf: ok, 2 jobs\n"
    env["CONFIGURATION_DIRECTORY"] = str(root / "nowhere")
    assert run(root / "usr/sbin/twistyd", "--check", env=env).stdout.startswith("no configuration file;")


def test_users_are_made(root):
    result = run("systemd-sysusers", f"--root={root}", "--dry-run")
    made = re.findall(r"Creating (group|user) '(\w+)'", result.stdout + result.stderr)
    assert set(made) == {("group", "twisty"), ("group", "_twistyd"), ("user", "_twistyd")}
    service, passed = settings("twistyd.service"), settings("twistyd.socket")
    assert ("user", service["User"][0]) in made
    assert ("group", service["Group"][0]) in made
    assert ("group", passed["SocketGroup"][0]) in made
    assert service["Group"] != passed["SocketGroup"], "members of the socket's group must not have the daemon's rights"


def test_catalog_is_taken(root):
    run("journalctl", f"--root={root}", "--update-catalog")
    listed = run("journalctl", f"--root={root}", "--list-catalog").stdout
    assert len(re.findall(r"^[0-9a-f]{32} twisty: ", listed, re.MULTILINE)) == listed.count("\n") > 0


# The rest


def test_completion_is_loaded(root):
    path = root / "usr/share/bash-completion/completions/twistyctl"
    result = run("bash", "--norc", "-euc", 'source "$1"; complete -p twistyctl', "bash", path)
    assert result.stdout == "complete -F _twistyctl twistyctl\n"


def manual(root):
    """twistyd(8) as plain text, on one line."""
    page = root / "usr/share/man/man8/twistyd.8"
    text = run("mandoc", "-T", "utf8", "-O", "width=500", page).stdout
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", text))


def test_manual_knows_every_option(root):
    usage = run(root / "usr/sbin/twistyd", "--help").stdout
    options = re.findall(r"--[a-z-]+", usage)
    assert len(options) > 5
    assert not [option for option in options if option not in manual(root)]


def test_manual_knows_every_line_of_the_log(root):
    code = (ROOT / "daemon" / "report.c").read_text(encoding="utf-8")
    words = re.findall(r'{"([a-z-]+)", "[0-9a-f]{32}"}', code)
    keys = re.findall(r'" ([a-z]+)="', code)
    fields = re.findall(r'"(TWISTY_[A-Z_]+)"', code)
    assert len(words) == 15 and len(keys) > 5 and len(fields) > 5
    text = manual(root)
    missing = [word for word in words + keys + fields if not re.search(rf"\b{word}\b", text)]
    assert not missing
