"""Fixtures: real daemons, each in its own directory, and receivers of their log."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from harness import EXAMPLES, Daemon, Datagrams, identity

DAEMONS = pytest.StashKey()


@pytest.fixture
def directory():
    """A new directory with a short path, since a socket's path is short, that other users can enter."""
    path = Path(tempfile.mkdtemp(prefix="twistyd-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def daemon(request, directory):
    """Start a twistyd: daemon(config text or None, option=...) gives a harness.Daemon that has said `ready`.

    ready=False: do not wait for it. example="tea.conf": with that file of conf/examples. The others are as for Daemon.
    Each daemon of a test has its own directory, unless `directory` names one.
    """
    started = request.node.stash.setdefault(DAEMONS, [])

    def start(config=None, *, ready=True, example=None, **options):
        own = Path(options.pop("directory", None) or directory / str(len(started)))
        own.mkdir(exist_ok=True)
        if example is not None:
            options["config_path"] = EXAMPLES / example
        d = Daemon(own, config=config, **options)
        started.append(d)
        if ready:
            d.wait_ready()
        return d

    yield start
    wrong = [f"{what}:\n{d.transcript()}" for d in started if (what := d.end())]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.fixture
def journal(directory):
    """A journal's socket that nobody reads until .start(); for log_to_journal()."""
    receiver = Datagrams(directory / "journal.sock")
    yield receiver
    receiver.close()


@pytest.fixture
def journal_daemon(journal, daemon):
    """As `daemon`, logging to the `journal` fixture."""

    def start(config=None, **options):
        env = {"TWISTYD_JOURNAL_SOCKET": journal.path, **options.pop("env", {})}
        d = daemon(config, target="journal", env=env, ready=False, **options)
        return d

    return start


@pytest.fixture
def as_user():
    """connect_as: a client whose credentials are another user's. Only root can make one."""
    if os.geteuid() != 0:
        pytest.skip("only root can be other users")

    def connect(d, uid, gid=None, groups=()):
        with identity(uid, uid if gid is None else gid, groups):
            return d.connect()

    return connect


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what its daemons said."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when == "call":
        for i, d in enumerate(item.stash.get(DAEMONS, [])):
            report.sections.append((f"twistyd {i}", d.transcript()))


def pytest_collection_modifyitems(items):
    """Deal the tests out: those that wait in real time stand together, and each worker takes a run of them."""
    hands = 16
    items[:] = [item for hand in range(hands) for item in items[hand::hands]]
