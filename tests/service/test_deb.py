"""The Debian package of `make deb`: installed, used, upgraded and purged."""

import os
import re
import shutil
import subprocess

import pytest

from harness import BUILD, ROOT
from machine import wait_until
from service import Service
from test_install import OLDER, OLDER_VERSION, Crowd, changed

VERSION = re.search(r"^VERSION := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(name="package", scope="module")
def built_package():
    """By service.mk, beforehand."""
    (path,) = (BUILD / "deb").glob(f"twisty_{VERSION}_*.deb")
    return path


@pytest.fixture(name="older_package", scope="module")
def package_of_an_older_build(package, tmp_path_factory):
    tree = tmp_path_factory.mktemp("older") / "tree"
    run("dpkg-deb", "--raw-extract", package, tree)
    for program in ("sbin/twistyd", "bin/twistyctl"):
        shutil.copy(OLDER / os.path.basename(program), tree / "usr" / program)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text(encoding="utf-8").replace(f"Version: {VERSION}", f"Version: {OLDER_VERSION}"),
                       encoding="utf-8")
    older = tree.with_name(f"twisty_{OLDER_VERSION}.deb")
    run("dpkg-deb", "--build", "--root-owner-group", tree, older)
    return older


def install(machine, package):
    shutil.copy(package, machine.path("/run"))
    return machine.run("apt-get", "install", "--yes", f"/run/{package.name}", env={"DEBIAN_FRONTEND": "noninteractive"})


def test_version_is_that_of_the_makefile(package):
    assert run("dpkg-parsechangelog", "-l", ROOT / "systemd/debian/changelog", "-S", "Version") == f"{VERSION}\n"
    assert run("dpkg-deb", "--field", package, "Version") == f"{VERSION}\n"


def test_package_has_what_make_installs(package, tmp_path):
    subprocess.run(["make", "-s", "-C", ROOT, "-o", "all", "install", f"B={BUILD}", f"DESTDIR={tmp_path}/made"],
                   check=True, timeout=60)
    run("dpkg-deb", "--extract", package, tmp_path / "packed")
    made, packed = ({str(p.relative_to(top)).removesuffix(".gz") for p in top.rglob("*") if p.is_file()}
                    for top in (tmp_path / "made", tmp_path / "packed"))
    assert packed - made == {"usr/share/doc/twisty/changelog", "usr/share/doc/twisty/copyright"}
    assert made <= packed


def test_life_of_a_package(fresh_machine, older_package, package):
    before = changed(fresh_machine)
    install(fresh_machine, older_package)
    service = Service(fresh_machine)
    assert service.state() == "active" and fresh_machine.state("twistyd.socket") == "active"
    assert fresh_machine.run("systemctl", "is-enabled", "twistyd.service", "twistyd.socket").stdout == "enabled\n" * 2
    assert fresh_machine.run("systemctl", "--global", "is-enabled", "twistyd.socket", check=False).stdout == "disabled\n"
    assert "twisty: Timer service is ready" in fresh_machine.run("journalctl", "--list-catalog").stdout
    service.configure("[job:kept]\nkind = loop\ninterval = 1h\n")
    service.systemctl("reload")
    service.ctl("add", "countdown", "3", "--rate", "20", "--name", "tea")
    service.wait_message("finish job=tea ")

    with Crowd(service) as crowd:
        wait_until(lambda: len(crowd.replies) > 50, "there are clients")
        install(fresh_machine, package)
        done = len(crowd.replies)
        wait_until(lambda: len(crowd.replies) > done + 50, "there are clients of the new one")
    assert not crowd.failures
    assert {version for version, _ in crowd.replies} == {OLDER_VERSION, VERSION}
    assert {live for _, live in crowd.replies} == {1}, "the administrator's configuration is kept"
    assert service.show("NRestarts")["NRestarts"] == "0"

    service.ctl("add", "once", "--delay", "1h")
    assert fresh_machine.path("/var/lib/twisty/state.db").exists()
    fresh_machine.run("apt-get", "purge", "--yes", "twisty")
    left = {path for path in changed(fresh_machine) - before if "twisty" in path}
    assert not left
    assert "twisty" not in fresh_machine.run("systemctl", "list-unit-files").stdout
    assert "twisty" not in fresh_machine.run("journalctl", "--list-catalog").stdout
    assert not fresh_machine.path("/run/twisty/control.sock").exists()
