"""A Varlink client that holds every message it gets to the interface files of the tree."""

import collections
import json
import socket
from pathlib import Path

from interface import Interface, Mismatch

ROOT = Path(__file__).resolve().parents[2]
CONTROL = Interface.load(ROOT / "daemon/io.twisty.Control.varlink")
SERVICE = Interface.load(ROOT / "daemon/org.varlink.service.varlink")
INTERFACES = {i.name: i for i in (CONTROL, SERVICE)}

DEADLINE = 20  # seconds; only a test that fails waits so long


class VarlinkError(Exception):
    """An error reply: `name` without its interface, and its parameters."""

    def __init__(self, error, parameters):
        super().__init__(f"{error} {json.dumps(parameters, ensure_ascii=False)}")
        self.error = error
        self.name = error.rpartition(".")[2]
        self.parameters = parameters


class Closed(Exception):
    """The daemon has closed the connection."""


def full_name(method):
    """A name without an interface is one of io.twisty.Control."""
    return method if "." in method else f"{CONTROL.name}.{method}"


def encode(method, parameters=None, **flags):
    """A call as the bytes that go over the socket."""
    call = {"method": full_name(method), **{k: v for k, v in flags.items() if v}}
    if parameters is not None:
        call["parameters"] = parameters
    return json.dumps(call, ensure_ascii=False).encode() + b"\0"


class Client:
    """One connection. Calls may be pipelined: send() several, then receive() as many replies."""

    def __init__(self, path, receive_buffer=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(path))
        self._buffer = b""
        self._expected = collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def expect(self, method):
        """The next reply not yet expected is to be this method's."""
        self._expected.append(full_name(method))

    def send(self, method, parameters=None, *, more=False, oneway=False):
        """Send a call and do not wait."""
        if not oneway:
            self.expect(method)
        self.socket.sendall(encode(method, parameters, more=more, oneway=oneway))

    def send_bytes(self, data):
        self.socket.sendall(data)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def frame(self):
        """The next message as bytes, without its NUL."""
        while b"\0" not in self._buffer:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed(f"the daemon closed the connection; unfinished: {self._buffer!r}")
            self._buffer += data
        frame, _, self._buffer = self._buffer.partition(b"\0")
        return frame

    def receive(self):
        """The next reply, checked: (parameters, continues). Raises VarlinkError."""
        message = json.loads(self.frame())
        method = self._expected[0] if self._expected else None
        continues = message.get("continues", False)
        if not continues and self._expected:
            self._expected.popleft()
        check(method, message)
        if "error" in message:
            raise VarlinkError(message["error"], message["parameters"])
        return message["parameters"], continues

    def call(self, method, parameters=None):
        """A call with one reply: its parameters."""
        self.send(method, parameters)
        result, continues = self.receive()
        assert not continues, f"{method} continues although nobody asked for more"
        return result

    def stream(self, method, parameters=None):
        """A call with `more`: the parameters of each reply, as they come."""
        self.send(method, parameters, more=True)
        continues = True
        while continues:
            result, continues = self.receive()
            yield result

    def is_closed(self):
        """Wait until the daemon closes; False when it says something first."""
        try:
            self.frame()
        except Closed:
            return True
        return False


def check(method, message):
    """Hold a reply of this method (None: of any) to the interface files."""
    unknown = message.keys() - {"parameters", "error", "continues"}
    if unknown:
        raise Mismatch(f"a reply has {unknown}")
    parameters = message.get("parameters")
    if "error" in message:
        interface, _, name = message["error"].rpartition(".")
        kind = INTERFACES[interface].errors.get(name) if interface in INTERFACES else None
        if kind is None:
            raise Mismatch(f"no interface file has the error {message['error']}")
        INTERFACES[interface].check(kind, parameters, name)
    elif method is not None:
        interface, _, name = method.rpartition(".")
        INTERFACES[interface].check(INTERFACES[interface].methods[name].reply, parameters, name)
