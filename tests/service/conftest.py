"""Fixtures: booted machines, and twistyd installed in them."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "functional"))

from machine import Machine  # noqa: E402  (after the path to harness.py)
from service import Service  # noqa: E402


def pytest_sessionstart():
    if os.geteuid() != 0:
        pytest.exit("only root can boot a machine: sudo make test-service", returncode=1)


@pytest.fixture(scope="session", name="machine")
def common_machine():
    """One for all tests that leave it as it was, with twistyd installed as README says."""
    with Machine("common") as machine:
        machine.make("install")
        Service.set_up(machine)
        yield machine


@pytest.fixture
def fresh_machine():
    """One of the test's own, without twistyd."""
    with Machine("fresh") as machine:
        yield machine


@pytest.fixture
def service(machine):
    """The common machine's twistyd: stopped, as it is installed, with its socket open."""
    service = Service(machine)
    service.restore()
    yield service
    service.restore()
