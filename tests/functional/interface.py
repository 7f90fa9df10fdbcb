"""Varlink interface files: parse one, and hold messages to it (https://varlink.org/Interface-Definition).

    control = Interface.load("daemon/io.twisty.Control.varlink")
    control.check(control.methods["Add"].reply, parameters)     # raises Mismatch with the path of what is wrong
"""

import re
from dataclasses import dataclass
from pathlib import Path

TOKEN = re.compile(r"\s+|#[^\n]*|(->|\[\]|\[string\]|[?(),:]|[A-Za-z][A-Za-z0-9_.-]*)")
FIELD = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")  # of members and of an enum's words
PLAIN = {
    "bool": lambda v: isinstance(v, bool),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool) and -(2**63) <= v < 2**63,
    "float": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "object": lambda v: isinstance(v, dict),
}


class Mismatch(AssertionError):
    """A message is not as the interface says."""


@dataclass(frozen=True)
class Named:
    """A plain type, or one that the interface defines."""

    name: str


@dataclass(frozen=True)
class Nullable:
    of: object


@dataclass(frozen=True)
class Array:
    of: object


@dataclass(frozen=True)
class Map:
    of: object


@dataclass(frozen=True)
class Enum:
    words: tuple


@dataclass(frozen=True)
class Struct:
    members: dict


@dataclass(frozen=True)
class Method:
    call: Struct
    reply: Struct


class Interface:
    """An interface: `types`, `methods` and `errors` by their short names."""

    def __init__(self, text):
        self.types, self.methods, self.errors = {}, {}, {}
        self._tokens = self._scan(text)
        self._expect("interface")
        self.name = self._next()
        while self._tokens:
            self._definition()

    @classmethod
    def load(cls, path):
        return cls(Path(path).read_text(encoding="utf-8"))

    @staticmethod
    def _scan(text):
        tokens, at = [], 0
        while at < len(text):
            match = TOKEN.match(text, at)
            assert match, f"not Varlink: {text[at:at + 40]!r}"
            if match[1]:
                tokens.append(match[1])
            at = match.end()
        return tokens[::-1]

    def _next(self):
        return self._tokens.pop()

    def _peek(self):
        return self._tokens[-1]

    def _expect(self, token):
        found = self._next()
        assert found == token, f"{token!r} expected, not {found!r}"

    def _definition(self):
        keyword, name = self._next(), self._next()
        known = {"type": self.types, "method": self.methods, "error": self.errors}[keyword]
        assert name not in known, f"{keyword} {name} is defined twice"
        if keyword == "method":
            call = self._parenthesis()
            self._expect("->")
            known[name] = Method(call, self._parenthesis())
        else:
            known[name] = self._parenthesis()

    def _parenthesis(self):
        """A struct, or an enum when its words have no types."""
        self._expect("(")
        members, words = {}, []
        while self._peek() != ")":
            name = self._next()
            assert FIELD.fullmatch(name), f"Varlink has no names such as {name!r}"
            assert name not in members and name not in words, f"{name} is there twice"
            if self._peek() == ":":
                self._next()
                members[name] = self._type()
            else:
                words.append(name)
            if self._peek() == ",":
                self._next()
        self._next()
        assert not (members and words), f"half struct, half enum: {members} {words}"
        return Enum(tuple(words)) if words else Struct(members)

    def _type(self):
        token = self._peek()
        wrapper = {"?": Nullable, "[]": Array, "[string]": Map}.get(token)
        if wrapper:
            self._next()
            return wrapper(self._type())
        return self._parenthesis() if token == "(" else Named(self._next())

    def resolve(self, kind):
        """The type behind a name."""
        while isinstance(kind, Named) and kind.name in self.types:
            kind = self.types[kind.name]
        return kind

    def check(self, kind, value, where=""):
        """Raise Mismatch unless the value is of this type."""
        kind = self.resolve(kind)
        if isinstance(kind, Nullable):
            if value is not None:
                self.check(kind.of, value, where)
        elif isinstance(kind, Named):
            self._demand(kind.name in PLAIN, where, f"the interface has no type {kind.name}")
            self._demand(PLAIN[kind.name](value), where, f"{value!r} is not of type {kind.name}")
        elif isinstance(kind, Enum):
            self._demand(value in kind.words, where, f"{value!r} is none of {kind.words}")
        elif isinstance(kind, Array):
            self._demand(isinstance(value, list), where, f"{value!r} is not an array")
            for i, item in enumerate(value):
                self.check(kind.of, item, f"{where}[{i}]")
        elif isinstance(kind, Map):
            self._demand(isinstance(value, dict), where, f"{value!r} is not a map")
            for key, item in value.items():
                self.check(kind.of, item, f"{where}.{key}")
        else:
            self._check_struct(kind, value, where)

    def _check_struct(self, kind, value, where):
        self._demand(isinstance(value, dict), where, f"{value!r} is not an object")
        unknown = value.keys() - kind.members.keys()
        self._demand(not unknown, where, f"members that the interface does not have: {unknown}")
        for name, member in kind.members.items():
            optional = isinstance(self.resolve(member), Nullable)
            self._demand(optional or name in value, where, f"{name} is missing")
            self.check(member, value.get(name), f"{where}.{name}")

    @staticmethod
    def _demand(condition, where, what):
        if not condition:
            raise Mismatch(f"{where or 'parameters'}: {what}")
