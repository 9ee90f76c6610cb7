"""The reader of labels: it agrees with another reader, and it always comes to an end."""

import contextlib
import datetime
import random
import re
import warnings
from pathlib import Path

import pytest

from mernet.pds import odl
from mernet.pds.label import solar_time_or_none, time_or_none
from mernet.pds.odl import Block, OdlError, OdlTruncated, Quantity, parse

DRAWN = 300  # 2,000 agreed, too, in the minute that the other reader takes for them


def flat(block: Block, path=()) -> list:
    """All values with the names of their blocks, in a form that both readers share."""
    values = [(*path, name, comparable(value)) for name, value in block.values]
    return values + [each for inner in block.blocks for each in flat(inner, (*path, inner.name))]


def flat_by_pvl(module, path=()) -> list:
    """The same of a label that pvl has read."""
    values, inner = [], []
    for name, value in module.items():
        if hasattr(value, "items"):
            inner += flat_by_pvl(value, (*path, name.upper()))
        else:
            values.append((*path, name.upper(), comparable(value)))
    return values + inner


BASED = re.compile(r"(\d+)#([0-9A-F]+)#")
WORDS = {None: "NULL", True: "TRUE", False: "FALSE"}


def comparable(value):
    """A value in the form that both readers share: times alike, sets in order."""
    if isinstance(value, Quantity):
        return comparable(value.value), value.unit
    if hasattr(value, "units"):
        return comparable(value.value), str(value.units).upper()
    if isinstance(value, set | frozenset):
        return sorted(map(str, map(comparable, value)))
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    if value is None or isinstance(value, bool):
        return WORDS[value]
    if isinstance(value, int | float):
        return value
    if (
        isinstance(value, datetime.date | datetime.time)
        or time_or_none(value)
        or solar_time_or_none(value)
    ):
        return "a time"
    based = BASED.fullmatch(str(value))
    return int(based[2], int(based[1])) if based else " ".join(str(value).split())


@pytest.fixture(scope="module")
def read_by_pvl():
    pvl = pytest.importorskip("pvl")

    def read(data: bytes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pvl.loads(data.decode("latin-1"))

    return read


def drawn_label(seed: int) -> bytes:
    """A legal label with values of every kind, drawn by a seed."""
    draw = random.Random(seed)
    end = draw.choice(["\r\n", "\n"])
    lines = ["PDS_VERSION_ID = PDS3"]

    def bare() -> str:
        return draw.choice(["MARS", "PANCAM_L2_753NM", "FIXED_LENGTH", "MSB_INTEGER", "A.B-C"])

    def scalar() -> str:
        return draw.choice([
            str(draw.randrange(-9999, 9999)), f"{draw.uniform(-9, 9):.4f}", "1.5e+03", bare(),
            f'"{bare()} {draw.randrange(9)}"', f'"two{end}   lines"', "'LITERAL'", '""',
            "2004-01-25T07:18:28.620", '"N/A"', "2#0000111111111111#",
        ])  # fmt: skip

    def value() -> str:
        kind = draw.randrange(8)
        if kind == 0:
            return f"({', '.join(scalar() for _ in range(draw.randrange(1, 5)))})"
        if kind == 1:
            return f"((1, 2),{end}   (3, {draw.randrange(9)}))"
        if kind == 2:
            return f"{draw.randrange(9999)} <{draw.choice(['BYTES', 'm/s', 'deg'])}>"
        return scalar()

    def statements(depth: int) -> None:
        for number in range(draw.randrange(1, 6)):
            equals, comment = draw.choice(["=", f"={end} "]), draw.choice(["", " /* remark */"])
            lines.append(f"{' ' * depth}KEY_{depth}_{number} {equals} {value()}{comment}")
        for _ in range(draw.randrange(3 - depth)):
            kind = draw.choice(["OBJECT", "GROUP"])
            name = draw.choice(["IMAGE", "COLUMN", "PARMS"])
            lines.append(f"{kind} = {name}")
            statements(depth + 1)
            lines.append(f"END_{kind}" + draw.choice(["", f" = {name}"]))

    statements(0)
    return end.join([*lines, "END", ""]).encode("latin-1")


def test_drawn_labels_are_read_as_another_reader_reads_them(read_by_pvl):
    for seed in range(DRAWN):
        label = drawn_label(seed)
        assert flat(parse(label)) == flat_by_pvl(read_by_pvl(label)), label.decode("latin-1")


@pytest.mark.real
def test_real_labels_are_read_as_another_reader_reads_them(real_files: Path, read_by_pvl):
    files = [*(real_files / "products").iterdir(), *(real_files / "index").glob("*.lbl")]
    for file in files:
        data = file.read_bytes()
        label = parse(data[:262_144])
        assert flat(label) == flat_by_pvl(read_by_pvl(data[: label.end])), file.name
    assert len(files) >= 10


@pytest.mark.parametrize(
    "text",
    ["A=1=2=3", "A = )", "A = (1 2)", "= 3", "END_OBJECT", "OBJECT = \n=", "A = 1 B", "\0A = 1",
     "OBJECT = A\nEND_OBJECT = B", "OBJECT = A\nEND", "A = <m>", "A B = 1"],
)  # fmt: skip
def test_what_is_not_a_label_is_refused_with_the_line(text):
    with pytest.raises(OdlError, match=r"line \d+:|it ends"):
        parse(f"{text}\nEND\n".encode())


@pytest.mark.parametrize(
    "text", ["A = ", "A = (1,", 'A = "x', "A = 1 <m", "A = /* x", "OBJECT = A\nB = 1\n", "A"]
)
def test_a_text_that_ends_too_early_says_so(text):
    with pytest.raises(OdlTruncated):
        parse(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"A=1=2=3\n" * 100_000,
        b"A = " + b"(" * 500_000,
        b"OBJECT = A\n" * 80_000,
        b"A = (1,2,3)\n" * 80_000 + b"END\n",
        b"/*" * 500_000,
        b"/* x */" * 140_000,
        b'"' * 1_000_000,
        b'A = "' + b" \r\n" * 330_000 + b'"\nEND\n',
        b" " * 1_000_000,
        b"A = \n" * 200_000 + b"END\n",
        b"A = <" * 200_000,
        b"A" * 1_000_000,
        b"A = " + b"9" * 1_000_000 + b"\nEND\n",
        b"A = 1/" * 160_000,
        b"<" * 1_000_000,
        bytes(1_000_000),
    ],
    ids=lambda data: data[:12],
)
def test_a_megabyte_of_anything_is_read_in_one_pass(data, monkeypatch):
    """A reader that goes back over the text asks for far more words than it has bytes."""
    words = 0
    word = odl._Parser.word

    def counted(self):
        nonlocal words
        words += 1
        assert words < 4 * len(data)
        return word(self)

    monkeypatch.setattr(odl._Parser, "word", counted)
    with contextlib.suppress(OdlError):
        parse(data)
