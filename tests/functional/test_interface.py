"""The interface file is the truth: what the daemon serves, takes and says is what stands there, no more and no less.

Every reply and every error of every test is held to the files by varlink.py; here is what that alone does not show.
"""

import json
import os
import re

import pytest

from harness import other_user
from interface import Array, Enum, Interface, Mismatch, Named, Nullable, Struct
from varlink import CONTROL, INTERFACES, ROOT, SERVICE, Client, VarlinkError, check

FILES = {name: ROOT / "daemon" / f"{name}.varlink" for name in INTERFACES}
METHODS = [(interface, name) for interface in INTERFACES.values() for name in interface.methods]

# A value that no type in the files but its own would take.
WRONG = {"bool": "yes", "int": "1", "string": 1, "array": {"x": 1}, "enum": 7}

# A call of each method that does no harm and succeeds.
HARMLESS = {"GetInterfaceDescription": {"interface": SERVICE.name}, "Add": {"jobs": []}, "Stop": {"match": []},
            "Pause": {"match": []}, "Resume": {"match": []}, "Reset": {"match": []}, "Remove": {"match": []}}


def call(d, method, parameters=None, more=False):
    """The first reply, and the connection closed."""
    with d.connect() as client:
        client.send(method, parameters, more=more)
        return client.receive()[0]


def refused(d, method, parameters, more=False):
    with pytest.raises(VarlinkError) as error:
        call(d, method, parameters, more)
    return error.value.error, error.value.parameters


def wrong_value(interface, kind):
    kind = interface.resolve(kind.of if isinstance(kind, Nullable) else kind)
    if isinstance(kind, Array):
        return WRONG["array"]
    return WRONG["enum"] if isinstance(kind, Enum) else WRONG[kind.name]


# The reader of these files, lest it take everything


def test_parser_and_checker_can_say_no():
    interface = Interface("""# comment
        interface a.b
        type E (one, two)
        type S (i: int, s: ?string, e: []E, m: [string]int, n: (x: bool), f: float, o: ?object)
        method M(s: ?S) -> (s: S)
        error Bad (s: string)
        error Empty ()
    """)
    assert interface.types["E"] == Enum(("one", "two"))
    assert interface.types["S"].members["e"] == Array(Named("E")) and interface.errors["Empty"] == Struct({})
    good = {"i": 1, "e": ["one"], "m": {"k": 2}, "n": {"x": True}, "f": 1.5}
    interface.check(Named("S"), good)
    for change in ({"i": True}, {"i": None}, {"i": 1.0}, {"s": 1}, {"e": ["three"]}, {"e": "one"}, {"m": {"k": "v"}},
                   {"n": {}}, {"n": {"x": True, "y": 1}}, {"more": 1}, {"f": "x"}, {"i": 2**63}, {"o": []}):
        with pytest.raises(Mismatch):
            interface.check(Named("S"), {**good, **change})
    for missing in good:
        with pytest.raises(Mismatch):
            interface.check(Named("S"), {k: v for k, v in good.items() if k != missing})
    for text in ("interface a.b type T (a, b: int)", "interface a.b type T (a: int, a: int)", "interface a.b foo X ()",
                 "interface a.b type T (a-b)", "interface a.b type T (a) type T (b)"):
        with pytest.raises((AssertionError, KeyError)):
            Interface(text)
    for message in ({"error": "io.twisty.Control.Nonsense", "parameters": {}}, {"error": "x.y", "parameters": {}},
                    {"parameters": {}}, {"parameters": {"jobs": []}, "extra": 1},
                    {"error": "io.twisty.Control.JobExists", "parameters": {}}):
        with pytest.raises(Mismatch):
            check("io.twisty.Control.List", message)


def test_every_named_type_is_defined():
    def names(kind):
        if isinstance(kind, Named):
            yield kind.name
        elif isinstance(kind, Struct):
            for member in kind.members.values():
                yield from names(member)
        elif not isinstance(kind, Enum):
            yield from names(kind.of)

    for interface in INTERFACES.values():
        kinds = [*interface.types.values(), *interface.errors.values()]
        kinds += [part for m in interface.methods.values() for part in (m.call, m.reply)]
        used = {name for kind in kinds for name in names(kind)} - {"bool", "int", "float", "string", "object"}
        assert used == interface.types.keys(), "each type is defined, and each is used"


# What is served


@pytest.mark.parametrize("name", FILES)
def test_description_is_the_file(daemon, name):
    served = daemon().call("org.varlink.service.GetInterfaceDescription", {"interface": name})["description"]
    assert served == FILES[name].read_text(encoding="utf-8")


def test_info_names_the_interfaces(daemon):
    info = daemon().call("org.varlink.service.GetInfo")
    assert sorted(info["interfaces"]) == sorted(INTERFACES)
    assert info["vendor"] and info["product"] == "twistyd" and info["version"] and info["url"]


def test_the_table_of_methods_is_the_files(daemon):
    """The code has no method that the files have not, and the daemon answers each that they have."""
    text = (ROOT / "daemon/methods.c").read_text(encoding="utf-8")
    table = re.search(r"static const struct method methods\[\] = {(.*?)\n};", text, re.DOTALL)[1]
    macros = {"VARLINK_SERVICE": SERVICE.name, "TWISTY_INTERFACE": CONTROL.name}
    in_code = {macros[m[1]] + m[2] for m in re.finditer(r'\.name = (\w+) "(\.\w+)"', table)}
    assert in_code == {f"{interface.name}.{name}" for interface, name in METHODS}
    d = daemon()
    for interface, name in METHODS:
        if name != "Shutdown":
            reply = call(d, f"{interface.name}.{name}", HARMLESS.get(name), more=name == "Watch")
            assert isinstance(reply, dict)
    call(d, "Shutdown")
    assert d.wait_exit() == 0


@pytest.mark.parametrize("interface, name", METHODS, ids=[name for _, name in METHODS])
def test_parameters_are_the_files(daemon, interface, name):
    """Each that may be left out can be, or be null; a wrong type, an unknown name and one that lacks are refused."""
    d = daemon()
    method, more = f"{interface.name}.{name}", name == "Watch"
    members = interface.methods[name].call.members
    base = HARMLESS.get(name, {})
    for member, kind in members.items():
        invalid = ("org.varlink.service.InvalidParameter", {"parameter": member})
        assert refused(d, method, {**base, member: wrong_value(interface, kind)}, more) == invalid
        if isinstance(kind, Nullable):
            call(d, method, {**base, member: None}, more)
        else:
            assert refused(d, method, {**base, member: None}, more) == invalid
            assert refused(d, method, {k: v for k, v in base.items() if k != member}, more) == invalid
        if isinstance(interface.resolve(getattr(kind, "of", kind)), Array):
            assert refused(d, method, {**base, member: [None]}, more) == invalid
    unknown = refused(d, method, {**base, "nonsense": 1}, more)
    assert unknown == ("org.varlink.service.InvalidParameter", {"parameter": "nonsense"})
    assert d.status()["pid"] == d.pid, "a refused Shutdown does not stop it"


SPEC = {"name": "tea", "kind": "loop", "count": 3, "rate": "1", "interval": "1s", "delay": "1h", "missed": "burst",
        "immediate": True, "background": True, "transient": True, "report": "none", "message": "m",
        "onTick": "act", "onFinish": "act", "onStop": "act", "onFailure": "act", "after": "other"}


def test_members_of_a_job_are_the_files(daemon):
    d = daemon("[action:act]\nexec = /bin/true\n[job:other]\nkind = once\ndelay = 1h\n")
    members = CONTROL.types["JobSpec"].members
    assert members.keys() == SPEC.keys(), "say here what a new member takes"
    for member, kind in members.items():
        base = {"kind": "loop", "name": f"of-{member}"}
        call(d, "Add", {"jobs": [{**base, member: SPEC[member]}]})
        error, parameters = refused(d, "Add", {"jobs": [{**base, member: wrong_value(CONTROL, kind)}]})
        assert (error, parameters["field"]) == ("io.twisty.Control.InvalidJob", member)
        if isinstance(kind, Nullable):
            call(d, "Add", {"jobs": [{"kind": "loop", "name": f"null-{member}", **{member: None}}]})
    error, parameters = refused(d, "Add", {"jobs": [{"kind": "loop", "intervall": "1s"}]})
    assert parameters["field"] == "intervall" and "did you mean 'interval'?" in parameters["reason"]


def test_every_word_of_the_enums_is_taken(daemon):
    d = daemon()
    for kind in CONTROL.types["Kind"].words:
        assert call(d, "Add", {"jobs": [{"kind": kind, **({"count": 9} if kind == "countdown" else {})}]})
    for policy in CONTROL.types["MissedPolicy"].words:
        (job,) = call(d, "Add", {"jobs": [{"kind": "loop", "missed": policy}]})["jobs"]
        assert job["missedPolicy"] == policy
    for state in CONTROL.types["State"].words:
        call(d, "List", {"states": [state]})


def test_every_word_of_the_enums_is_said(daemon):
    """Each state, source and event can be made to happen."""
    d = daemon("[job:conf]\nkind = countdown\ncount = 1000\ninterval = 10ms\nreport = none\n"
               "[action:bad]\nexec = /bin/false\n")
    states, events = set(), set()
    with d.connect() as client:
        stream = (reply["event"] for reply in client.stream("Watch"))
        events.add(next(stream)["event"])
        d.add({"kind": "countdown", "count": 2, "rate": "20", "name": "x"},
              {"kind": "once", "delay": "1h", "name": "w"}, {"kind": "loop", "name": "p"},
              {"kind": "countdown", "count": 5, "interval": "10ms", "name": "slept"},
              {"kind": "loop", "interval": "1h", "name": "s"},
              {"kind": "loop", "interval": "1h", "name": "a", "onTick": "bad", "onFailure": "stop"})
        with d.stalled(0.2):
            pass
        for method, name in (("Pause", "p"), ("Resume", "p"), ("Reset", "p"), ("Pause", "p"), ("Stop", "s")):
            call(d, method, {"match": [name]})
        d.wait_for("^finish job=x")
        d.wait_for("^failed job=a")
        jobs = d.list(all=True)
        states |= {job["state"] for job in jobs.values()}
        assert {job["source"] for job in jobs.values()} == set(CONTROL.types["Job"].members["source"].words)
        # Now this reader is too slow.
        d.add(*({"kind": "loop", "interval": "1h", "name": f"m{i}"} for i in range(5000)))
        events |= {next(stream)["event"] for _ in range(10)}
        while "lost" not in events:
            events.add(next(stream)["event"])
    with d.connect() as client:  # a daemon that ends waits for no slow reader
        list(client.stream("Remove", {"match": ["m*"]}))
        stream = (reply["event"] for reply in client.stream("Watch"))
        events.add(next(stream)["event"])
        call(d, "Shutdown")
        events |= {event["event"] for event in stream}
    assert d.wait_exit() == 0
    assert states == set(CONTROL.types["State"].words)
    assert events == set(CONTROL.types["Event"].members["event"].words)


def test_every_error_of_the_files_can_be_provoked(daemon):
    """But for these: nothing that the files have is left out by us, and NotPermitted says what is not permitted."""
    never = {"MethodNotImplemented", "PermissionDenied", "NotDurable"}  # of the last, test_state_disk has every kind
    d = daemon("[daemon]\nmax-jobs = 3\n[job:x]\nkind = loop\n")
    d.config.write_text("[daemon]\nbackend = pool\n")
    seen = set()

    def provoke(method, parameters=None):
        seen.add(refused(d, method, parameters)[0].rpartition(".")[2])

    provoke("Stop", {"match": ["y"]})
    provoke("Add", {"jobs": [{"kind": "loop", "name": "x"}]})
    provoke("Add", {"jobs": [{"kind": "countdown"}]})
    provoke("Add", {"jobs": [{"kind": "loop"}] * 3})
    provoke("Reload")
    call(d, "Stop", {"match": ["x"]})
    provoke("Stop", {"match": ["x"]})
    provoke("Watch")
    provoke("Foo")
    provoke("a.b.Foo")
    provoke("Add", {})
    every = {name for interface in INTERFACES.values() for name in interface.errors}
    assert seen == every - never - {"NotPermitted"}


def test_not_permitted_is_as_in_the_file(daemon, as_user):
    d = daemon()
    os.chmod(d.socket, 0o666)
    with as_user(d, other_user()) as stranger, pytest.raises(VarlinkError) as error:
        stranger.call("Shutdown")
    assert error.value.name == "NotPermitted"


def test_a_library_of_another_language_would_understand(daemon):
    """Frames are JSON objects with no more members than the protocol knows, and `parameters` is always there."""
    d = daemon()
    d.add(*[{"kind": "loop", "interval": "1h"}] * 200)
    with Client(d.socket) as client:
        for request in (b'{"method":"io.twisty.Control.List","more":true}', b'{"method":"io.twisty.Control.Shutdwn"}',
                        b' {"method" : "io.twisty.Control.Status", "parameters":null, "more":null, "oneway":false,'
                        b' "unknown": 5}\n'):
            client.send_bytes(request + b"\0")
            continues = True
            while continues:
                message = json.loads(client.frame())
                assert message.keys() <= {"parameters", "continues", "error"}
                assert isinstance(message["parameters"], dict)
                assert message.get("continues") in (None, True, False)
                continues = message.get("continues", False)
