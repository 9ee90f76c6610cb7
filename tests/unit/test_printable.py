"""Text from outside can be printed, logged and exported without doing anything."""

from pathlib import Path

import pytest

from mernet.printable import csv_cell, from_csv_cell, printable, printable_lines, quoted


def test_ordinary_text_stays_as_it_is() -> None:
    for text in (
        "1P128287181EFF0000P2303L2M1",
        "https://a.example/x?y=1",
        "Übersicht [/b] 火星",
        "",
    ):
        assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("tab\tNUL\0DEL\x7f", r"tab\tNUL\x00DEL\x7f"),
        ("CSI\x9b2J", r"CSI\x9b2J"),
        ("exe\u202egpj", r"exe\u202egpj"),
        ("iso\u2066late\u2069", r"iso\u2066late\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("line\u2028separator\x85", r"line\u2028separator\x85"),
        ("half\udcff", r"half\udcff"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_what_is_not_printable_becomes_its_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()
    printable(text).encode()


def test_what_is_too_long_is_cut() -> None:
    assert printable("a" * 200) == "a" * 200
    assert printable("a" * 201) == "a" * 197 + "..."
    assert printable("a" * 400_000, 10) == "aaaaaaa..."
    assert printable("a" * 400_000, None) == "a" * 400_000


def test_of_a_path_that_is_too_long_the_file_s_name_stays() -> None:
    path = Path("/" + "folder/" * 100 + "a\x1b.img")
    assert printable(path, 30).endswith(r"folder/a\x1b.img")
    assert printable(path, 30).startswith("...")
    assert printable(Path("/a/b.img")) == "/a/b.img"


def test_an_escape_is_not_cut_in_two() -> None:
    assert printable("ab\x1b\x1b\x1b", 12) == r"ab\x1b..."
    assert all(len(printable("\x1b" * 300, limit)) <= limit for limit in range(3, 50))


@pytest.mark.parametrize("limit", [200, None, 12])
def test_users_and_passwords_of_urls_are_hidden(limit: int | None) -> None:
    for credentials in ("user:secret", "secret", "user:se@cret", "user:s\x1becret"):
        text = f"https://{credentials}@archive.example/index.tab"
        assert printable(text, limit) == printable("https://***@archive.example/index.tab", limit)
    for name in ("password", "sslpassword", "PASSWORD"):
        text = f"no answer of postgresql://host/name?{name}=secret&port=1"
        assert printable(text, limit) == printable(text.replace("secret", "***"), limit)
    assert printable("mail a@b.example") == "mail a@b.example"


def test_a_megabyte_of_digits_is_read_in_one_pass() -> None:
    assert csv_cell("-" + "1" * 1_000_000 + "x").startswith("'-")


def test_any_object_has_printable_text() -> None:
    assert printable(ValueError("a\nb")) == r"a\nb"
    assert printable(None) == "None"


def test_line_breaks_can_stay() -> None:
    assert printable_lines("a\n\x1bb") == "a\n\\x1bb"


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\rx", " =1", "'=1", "＝1", "-"],
)
def test_a_cell_that_begins_like_a_formula_is_guarded_and_read_back(text: str) -> None:
    guarded = csv_cell(text)
    assert guarded == f"'{text}"
    assert from_csv_cell(str(guarded)) == text


@pytest.mark.parametrize(
    "value", [-1, -0.5, None, "-1", "+2.5e-3", "-.5", "sky", "'quoted'", "a=b"]
)
def test_numbers_and_ordinary_cells_stay_as_they_are(value: object) -> None:
    assert csv_cell(value) == value
    if isinstance(value, str):
        assert from_csv_cell(value) == value


def test_quoted_text_is_printable_too() -> None:
    assert quoted("a\x1bb") == r"'a\x1bb'"
    assert len(quoted("a" * 1_000)) == 202
