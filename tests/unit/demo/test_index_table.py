"""The index of the sample volumes: its format, and the errors that real ones have."""

import re
from pathlib import Path

import pytest

from mernet.demo.index_table import COLUMNS, OFF_BY_ONE
from mernet.demo.plan import Take

VOLUMES = ("mer1po_0xxx", "mer2po_0xxx")
MOTION = 50  # the field where the rover motion counter begins


@pytest.fixture(scope="module", params=VOLUMES)
def volume(request: pytest.FixtureRequest, archive: Path) -> Path:
    return archive / str(request.param) / "index"


def rows_of(volume: Path) -> list[bytes]:
    return (volume / "edrindex.tab").read_bytes().splitlines(keepends=True)


def test_it_lists_every_product_of_the_volume_once(volume: Path, takes: list[Take]) -> None:
    listed = [row.split(b"\t")[5].strip(b'" ').decode() for row in rows_of(volume)]
    planned = [t.edr.file_name for t in takes if t.edr.mission.volume == volume.parent.name]
    assert sorted(listed) == sorted(planned)


def test_a_row_splits_into_59_fields_though_there_are_55_columns(volume: Path) -> None:
    label = (volume / "edrindex.lbl").read_text("ascii")
    assert re.search(r"COLUMNS +=\s*55\b", label)
    assert len(COLUMNS) == 55
    assert {len(row.split(b"\t")) for row in rows_of(volume)} == {59}


def test_a_row_is_one_byte_longer_than_the_label_says(volume: Path) -> None:
    label = (volume / "edrindex.lbl").read_text("ascii")
    declared = re.search(r"ROW_BYTES += (\d+)", label)
    assert declared is not None
    assert {len(row) for row in rows_of(volume)} == {int(declared[1]) + 1}
    assert all(row.endswith(b"\r\n") for row in rows_of(volume))


def test_text_is_quoted_and_padded_and_numbers_are_not_quoted(volume: Path) -> None:
    fields = rows_of(volume)[0].split(b"\t")
    assert re.fullmatch(rb'"PANCAM_(LEFT |RIGHT) +"', fields[3])
    assert re.fullmatch(rb"\d+ +", fields[11])
    assert len(fields[4]) == 67


def test_the_motion_counter_is_five_fields_beginning_with_site_and_drive(
    volume: Path, takes: list[Take]
) -> None:
    by_name = {take.edr.file_name: take.edr for take in takes}
    for row in rows_of(volume):
        fields = row.split(b"\t")
        edr = by_name[fields[5].strip(b'" ').decode()]
        assert tuple(int(field) for field in fields[MOTION : MOTION + 5]) == edr.motion


def test_some_times_lack_the_z(archive: Path) -> None:
    rows = [row for volume in VOLUMES for row in rows_of(archive / volume / "index")]
    endings = {row.split(b"\t")[12].strip()[-1:] for row in rows}
    assert b"Z" in endings
    assert len(endings) > 1


def test_the_label_points_to_an_upper_case_table_and_errs_in_some_start_bytes(
    volume: Path,
) -> None:
    label = (volume / "edrindex.lbl").read_text("ascii")
    assert '"EDRINDEX.TAB"' in label
    row = rows_of(volume)[0]
    objects = re.findall(r"NAME += (\w+)\n.*\n +START_BYTE += (\d+)", label.replace("\r", ""))
    starts = {name: int(start) for name, start in objects}
    assert row[starts["PATH_NAME"] - 1 :].startswith(b"/mer")
    for name in OFF_BY_ONE:
        assert row[starts[name] - 1 : starts[name]] == b"\t"


@pytest.mark.real
def test_columns_and_widths_are_those_of_the_real_index(real_files: Path) -> None:
    label = (real_files / "index" / "mer2po_edrindex.lbl").read_text("ascii")
    objects = re.findall(
        r"COLUMN_NUMBER +=\s*\d+\s+NAME +=\s*(\w+)[\s\S]*?\bBYTES +=\s*(\d+)", label
    )
    real = [(name, int(width)) for name, width in objects]
    ours = [(each.name, each.width * each.items + each.items - 1) for each in COLUMNS]
    assert ours == real


@pytest.mark.real
def test_a_row_is_as_long_as_a_real_one(real_files: Path, volume: Path) -> None:
    real = (real_files / "index" / "mer1po_edrindex_sample_row.tab").read_bytes()
    assert {len(row) for row in rows_of(volume)} == {len(real)}
