"""The shape of index tables."""

from pathlib import Path

import pytest

from mernet.pds.index_label import parse_label


@pytest.mark.real
@pytest.mark.parametrize(
    ("label", "columns", "fields"),
    [("mer2po_edrindex.lbl", 55, 59), ("mer1do_edrindex.lbl", 48, 52)],
)
def test_a_column_of_five_items_is_five_fields(real_files: Path, label, columns, fields):
    shape = parse_label((real_files / "index" / label).read_bytes(), label)
    assert (len(shape.first_field), shape.fields) == (columns, fields)


@pytest.mark.real
def test_columns_of_a_whole_real_table_are_where_its_label_puts_them(real_files: Path):
    shape = parse_label((real_files / "index" / "mer1do_edrindex.lbl").read_bytes(), "label")
    table = (real_files / "index" / "mer1do_edrindex.tab").read_bytes()
    rows = [line.split(b"\t") for line in table.splitlines()]
    assert [len(row) for row in rows] == [shape.fields] * 9
    for column, values in {
        "LINES": {b"64", b"256", b"1024"},
        "TARGET_NAME": {b"MARS"},
        "PIXEL_AVERAGING_HEIGHT": {b"4", b"16"},
        "PIXEL_AVERAGING_WIDTH": {b"1", b"16"},
    }.items():
        assert {row[shape.first_field[column]].strip(b'" ') for row in rows} == values, column
