"""Read PDS3 labels (ODL, PDS3 Standards Reference chapter 12) in bounded time and memory.

One pass over the bytes: each is read a constant number of times, blocks and sequences nest to a
bounded depth, and whatever is not a label ends in `OdlError`. The libraries that were tried do not
hold that: pvl 1.3.2 does not return on `A=1=2=3`.

Read as legal: keywords in any case, comments behind values, values over several lines, values that
are empty, units, sequences and sets, line ends of any kind, Latin-1 text, END as the last bytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

MAX_DEPTH = 20  # blocks or sequences inside each other; real labels have 3
MAX_NUMBER = 40  # characters of a number; longer ones stay text
OPEN = {"OBJECT", "GROUP", "BEGIN_OBJECT", "BEGIN_GROUP"}
CLOSE = {"END_OBJECT", "END_GROUP"}
END = "END"
BRACKETS = {"(": ")", "{": "}"}

BLANKS = re.compile(r"[\s;]*")
# A keyword or a bare value: everything up to a delimiter, a comment or a control character.
WORD = re.compile(r"""(?:[^\x00-\x20\x7f=(){},<>"';/]|/(?!\*))+""")
EQUALS = re.compile(r"[ \t]*=")
LINE_BREAKS = re.compile(r"[\r\n]+")
INTEGER = re.compile(r"[-+]?\d+")
REAL = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


class OdlError(ValueError):
    """A text is not a label; the message says what is wrong and in which line."""


class OdlTruncated(OdlError):
    """A text ends before its label does."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with a unit, such as 513 <BYTES>; the unit is in upper case."""

    value: "Value"
    unit: str

    def __repr__(self) -> str:
        """Return the value as a label has it, for messages."""
        return f"{self.value!r} <{self.unit}>"


Value = int | float | str | Quantity | list["Value"]


@dataclass(slots=True)
class Block:
    """A label, or an OBJECT or GROUP in it: its values and blocks, by name in upper case.

    Of a label, `is_ended` says whether it has an END, and `end` is the position behind it in bytes.
    """

    name: str = ""
    values: list[tuple[str, Value]] = field(default_factory=list)
    blocks: list["Block"] = field(default_factory=list)
    is_ended: bool = False
    end: int = 0

    def all(self, key: str) -> list[Value]:
        """Return all values of a keyword, in order, without those of inner blocks."""
        return [value for name, value in self.values if name == key]

    def get(self, key: str) -> Value | None:
        """Return the first value of a keyword, None without one; a unit is left out."""
        found = next(iter(self.all(key)), None)
        return found.value if isinstance(found, Quantity) else found

    def blocks_named(self, *names: str) -> list["Block"]:
        """Return the inner blocks of one of the names, in order."""
        return [block for block in self.blocks if block.name in names]

    def walk(self) -> Iterator["Block"]:
        """Yield this block and all blocks in it; a label's nesting is bounded."""
        yield self
        for block in self.blocks:
            yield from block.walk()


def parse(data: bytes) -> Block:
    """Read a label from the beginning of `data`; what follows END is not read.

    Returns:
        The label; `is_ended` says whether it has an END.

    Raises:
        OdlTruncated: The text ends within a statement or a block.
        OdlError: The text is not a label.
    """
    return _Parser(data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")).label()


class _Parser:
    """Reads one text from its beginning to its END."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def label(self) -> Block:
        """Read all statements."""
        label = Block()
        open_blocks = [label]
        while key := self.word():
            name = key.upper()
            if name == END and not EQUALS.match(self.text, self.position):
                label.is_ended, label.end = True, self.position
                break
            if name in CLOSE:
                self.close(open_blocks, name)
            elif not self.accept("="):
                # END may be the last bytes of a label, with the next object directly behind it.
                if not name.startswith(END):
                    self.fail(f"{key[:40]!r} has no value")
                label.is_ended, label.end = True, self.position - len(key) + len(END)
                break
            elif name in OPEN:
                self.open(open_blocks, name)
            else:
                open_blocks[-1].values.append((name, self.value_or_empty()))
        if len(open_blocks) > 1:
            if label.is_ended:
                self.fail(f"{open_blocks[-1].name[:40]!r} is not closed before END")
            raise OdlTruncated(f"it ends within {open_blocks[-1].name[:40]!r}")
        if not label.is_ended and self.position < len(self.text):
            self.fail(f"a keyword cannot begin with {self.text[self.position]!r}")
        return label

    def open(self, open_blocks: list[Block], kind: str) -> None:
        """Begin a block."""
        self.skip()
        name = self.word()
        if not name:
            self.fail(f"{kind} has no name")
        if len(open_blocks) > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} blocks inside each other")
        block = Block(name.upper())
        open_blocks[-1].blocks.append(block)
        open_blocks.append(block)

    def close(self, open_blocks: list[Block], kind: str) -> None:
        """End a block; the name behind its end is optional."""
        if len(open_blocks) == 1:
            self.fail(f"{kind} without a beginning")
        block = open_blocks.pop()
        if self.accept("="):
            self.skip()
            name = self.word()
            if name.upper() != block.name:
                self.fail(f"{block.name[:40]!r} is closed as {name[:40]!r}")

    def value_or_empty(self) -> Value:
        """Read a value; empty if the next line begins with another statement instead."""
        start = self.position
        self.skip()
        is_next_line = LINE_BREAKS.search(self.text, start, self.position) is not None
        first = self.position
        if is_next_line:
            word = self.word()
            is_statement = word and (self.accept("=") or word.upper() in {END, *CLOSE})
            self.position = first
            if is_statement:
                return ""
        return self.value()

    def value(self, depth: int = 0) -> Value:
        """Read a value, with its unit if it has one."""
        self.skip()
        character = self.text[self.position : self.position + 1]
        value: Value
        if character in BRACKETS:
            value = self.sequence(BRACKETS[character], depth)
        elif character in ('"', "'"):
            value = self.quoted(character)
        elif word := self.word():
            value = _number_or_text(word)
        elif not character:
            raise OdlTruncated("it ends before a value")
        else:
            self.fail(f"a value cannot begin with {character!r}")
        self.skip()
        if self.text.startswith("<", self.position):
            return Quantity(value, self.quoted(">").strip().upper())
        return value

    def sequence(self, closing: str, depth: int) -> list[Value]:
        """Read the values between brackets."""
        if depth >= MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} brackets inside each other")
        self.position += 1
        values: list[Value] = []
        while not self.accept(closing):
            if values and not self.accept(","):
                if self.position >= len(self.text):
                    raise OdlTruncated("it ends within a sequence")
                self.fail("a comma is missing in a sequence")
            values.append(self.value(depth + 1))
        return values

    def quoted(self, closing: str) -> str:
        """Read up to a closing character; a line break stands for one blank."""
        end = self.text.find(closing, self.position + 1)
        if end < 0:
            raise OdlTruncated(f"it ends before a closing {closing}")
        text = self.text[self.position + 1 : end]
        self.position = end + 1
        return " ".join(line.strip() for line in LINE_BREAKS.split(text)).strip()

    def word(self) -> str:
        """Read a keyword or a bare value, empty if there is none."""
        self.skip()
        match = WORD.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match.group()

    def accept(self, character: str) -> bool:
        """Read a character if it comes next."""
        start = self.position
        self.skip()
        if self.text.startswith(character, self.position):
            self.position += 1
            return True
        self.position = start
        return False

    def skip(self) -> None:
        """Read blanks, line breaks and comments."""
        while True:
            blanks = BLANKS.match(self.text, self.position)
            self.position = blanks.end() if blanks else self.position
            if not self.text.startswith("/*", self.position):
                return
            end = self.text.find("*/", self.position + 2)
            if end < 0:
                raise OdlTruncated("it ends within a comment")
            self.position = end + 2

    def fail(self, problem: str) -> NoReturn:
        """Raise OdlError with the number of the line; OdlTruncated at the end of the text."""
        line = len(LINE_BREAKS.findall(self.text, 0, self.position)) + 1
        kind = OdlError if self.position < len(self.text) else OdlTruncated
        raise kind(f"line {line}: {problem}")


def _number_or_text(word: str) -> int | float | str:
    """Return a bare value as a number if it is one."""
    if len(word) > MAX_NUMBER:
        return word
    if INTEGER.fullmatch(word):
        return int(word)
    return float(word) if REAL.fullmatch(word) else word
