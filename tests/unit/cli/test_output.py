"""What commands print is shown as it is: nothing in it is markup or moves the cursor."""

import csv

import pytest

from mernet.cli.shared.output import complain, note, print_csv, print_table, say

NASTY = "a[/b]\\[/b][bold]\x1b[2J\0\u202e.img"
SHOWN = r"a[/b]\[/b][bold]\x1b[2J\x00\u202e.img"


@pytest.mark.parametrize("prints", [say, note, complain])
def test_a_sentence_is_printed_as_it_is(prints, capsys: pytest.CaptureFixture[str]) -> None:
    prints(NASTY)
    captured = capsys.readouterr()
    assert captured.out + captured.err == f"{SHOWN}\n"


def test_cells_and_headers_of_a_table_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table([NASTY, "count"], [(f"{NASTY}\n", 3)])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == [SHOWN, "count"]
    assert row.split() == [SHOWN + r"\n", "3"]


def test_a_long_cell_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://archive.example/" + "a" * 900
    print_table(["url"], [(url,)])
    assert url in capsys.readouterr().out


def test_no_cell_of_csv_begins_like_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"=name": "=1+1", "sol": -3, "note": "a\x1b[2J\nb", "probability": 0.5}
    print_csv([row], list(row))
    header, cells = csv.reader(capsys.readouterr().out.splitlines())
    assert header == ["'=name", "sol", "note", "probability"]
    assert cells == ["'=1+1", "-3", r"a\x1b[2J\nb", "0.5"]
