"""A file includes only what stands below it, and each library appears only in its own places."""

import fnmatch
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Who stands on whom, highest first; a file includes only files of later lines, and its own header.
LEVELS = [
    ["main"],
    ["daemon"],
    ["methods", "reloader", "notifier"],
    ["reload", "reactions", "accept", "status"],
    ["streams", "waits"],
    ["reply", "walk"],
    ["durable"],
    ["control", "jobs", "loop", "worker"],
    ["names"],
    ["conf_files", "wire", "listener", "store", "runner"],
    ["report", "database"],
    ["session", "statefile"],
    ["changes"],
    ["job"],
    ["traits"],
    ["sink", "service", "command", "environment"],
    ["config", "spawner"],
    ["action", "conf_after", "settings"],
    ["conf_text"],
    ["conf_mistakes"],
    ["spec"],
    ["places", "now"],
    ["sched", "varlink", "quantity", "watch", "gather", "digest"],
    ["emit", "skim"],
    ["trie", "slab", "table", "lateness", "stamp", "init", "capture", "chain",
     "limits"],
    ["text", "line", "siphash", "buffer"],
]
ORDER = {name: i for i, level in enumerate(LEVELS) for name in level}

# Which of our files may include a library's headers.
LIBRARIES = {
    r"event2/": {"loop.c", "watch.c"},
    r"systemd/": {"service.c"},
    r"ini\.h": {"conf_text.c"},
    r"sqlite3\.h": {"session.c"},
}
SHARED_WITH_CTL = {"conf_files.h", "emit.h", "now.h", "quantity.h", "text.h", "skim.h", "spec.h",
                   "varlink.h"}


def includes(path):
    return re.findall(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE)


def sources(folder):
    return sorted((ROOT / folder).glob("*.[ch]"))


def test_every_file_has_its_place():
    unknown = {p.stem for p in sources("daemon")} - ORDER.keys()
    assert not unknown, f"say in LEVELS where these stand: {unknown}"


def test_the_readme_names_every_module_once():
    rows = re.findall(r"^\| (`(?:daemon|ctl)/[^|]*)\|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    patterns = [name.rpartition("/")[2] for row in rows for name in re.findall(r"`([^`]*)`", row)]
    for path in sources("daemon") + sources("ctl"):
        named = [pattern for pattern in patterns if fnmatch.fnmatch(path.stem, pattern)]
        assert len(named) == 1, f"{path.name}: {named}"


def test_daemon_includes_go_down():
    wrong = []
    for path in sources("daemon"):
        for quote, name in includes(path):
            other = pathlib.Path(name).stem
            if quote == '"' and other in ORDER and other != path.stem and ORDER[other] <= ORDER[path.stem]:
                wrong.append(f"{path.name} includes {name}")
    assert not wrong, wrong


def test_libraries_stay_in_their_files():
    wrong = []
    for path in sources("daemon") + sources("ctl"):
        for _, name in includes(path):
            for pattern, allowed in LIBRARIES.items():
                if re.match(pattern, name) and path.name not in allowed:
                    wrong.append(f"{path.name} includes {name}")
    assert not wrong, wrong


def test_ctl_knows_only_the_shared_files():
    wrong = []
    for path in sources("ctl"):
        for quote, name in includes(path):
            if quote == '"' and name.startswith("daemon/") and name.removeprefix("daemon/") not in SHARED_WITH_CTL:
                wrong.append(f"{path.name} includes {name}")
    assert not wrong, wrong


# These have no clock, no descriptor and no environment.
PURE = {"sched", "trie", "slab", "table", "gather", "lateness", "traits", "job", "jobs", "names", "emit", "skim",
        "varlink", "quantity", "spec", "text", "config", "settings", "conf_text", "conf_after", "wire", "walk",
        "action", "capture", "chain", "waits", "changes", "digest", "line", "buffer", "siphash"}


def test_pure_core_knows_no_clock_and_no_io():
    banned = re.compile(r"\b(clock_gettime|now_by|time|gettimeofday|open|read|write|socket|getenv|fopen|printf|fprintf)\s*\(")
    paths = [path for path in sources("daemon") if path.stem in PURE]
    assert {path.stem for path in paths} == PURE
    wrong = []
    for path in paths:
        code = re.sub(r"/\*.*?\*/|//[^\n]*|\"(\\.|[^\"\\])*\"", "", path.read_text(), flags=re.S)
        wrong += [f"{path.name} calls {m.group(1)}()" for m in banned.finditer(code)]
    assert not wrong, wrong


def test_who_says_that_it_is_pure_is_looked_into():
    say = {path.stem for path in sources("daemon") if re.search(r"^ \* .*\bPure\b[.:;]", path.read_text(), re.MULTILINE)}
    assert say <= PURE, say - PURE
