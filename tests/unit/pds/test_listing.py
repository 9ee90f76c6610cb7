"""Listing: which rows become products, and why the others are left out."""

import errno
import os
import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mernet.pds.archive import resolve
from mernet.pds.errors import BadArchiveError, BadIndexError, NotFoundError, ShortListingError
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import list_products
from mernet.pds.selection import LeftOutReason, Selection

WANTED = "1p128287181eff0000p2303l2m1"


def listed(*paths, products="edr"):
    """Product ids that are listed, (name, reason) of those left out, and the number of rows."""
    left_out, counts = [], [0]
    with Fetcher() as fetcher:
        found = list(
            list_products(
                [resolve(str(path)) for path in paths],
                Selection(products),
                fetcher,
                left_out.append,
                counts.append,
            )
        )
    return found, [(entry.name, entry.reason) for entry in left_out], counts[-1]


def ids(products):
    return [product.product_id for product in products]


def test_a_row_of_an_index_becomes_a_product(volume, index_row):
    folder = volume([index_row()])
    [product], left_out, rows = listed(folder)
    base = folder.parent.as_uri()
    assert product.image_url == f"{base}/mer1po_0xxx/data/sol0012/edr/{WANTED}.img"
    assert product.browse_url == f"{base}/mer1po_0xxx/browse/sol0012/edr/{WANTED}.img.jpg"
    assert product.label_url is None
    assert (product.lines, product.line_samples, product.sol) == (1024, 1024, 12)
    assert product.start_time == datetime(2004, 1, 25, 7, 18, 28, tzinfo=UTC)
    assert product.local_solar_time == "15:32:30"
    assert (left_out, rows) == ([], 1)


def test_a_place_beyond_the_two_characters_of_a_name_is_that_of_the_motion_counter(
    volume, index_row
):
    row = index_row(name="1p538317657edn____p2313l2m1.img").replace(
        b"\t0 \t0 \t", b"\t1312 \t27 \t"
    )
    [product], _, _ = listed(volume([row]))
    assert (product.site, product.drive) == (1312, 27)


def test_values_that_an_index_does_not_know_are_none(volume, index_row):
    row = index_row(sol="UNK", start_time='"N/A"', local_solar_time="NULL")
    [product], _, _ = listed(volume([row]))
    assert (product.sol, product.start_time, product.local_solar_time) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("3p128287181eff0000p2303l2m1", "ground model rover"),
        ("1n128287181eff0000p2303l2m1", "not Pancam"),
        ("1p128287181eff0000p2303r2m1", "not left eye"),
        ("1p128287181eff0000p2303l7m1", "not filter 2"),
        ("1p128287181erp0000p2303l2m1", "not an image type"),
        ("1p128287181ffl0000p2303l2m1", "not a raw product"),
        ("readme", "unreadable name"),
    ],
)
def test_an_unwanted_name_is_left_out_with_its_reason(volume, index_row, name, reason):
    _, left_out, _ = listed(volume([index_row(), index_row(name)]))
    assert left_out == [(f"{name}.img", reason)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lines": 192, "line_samples": 320}, "not 512x512 or 1024x1024"),
        ({"line_samples": 512}, "not 512x512 or 1024x1024"),
        ({"lines": "many"}, "unreadable row"),
        ({"path": "/mer1po_0xxx/../../secret/"}, "unreadable row"),
        ({"sol": "12\t13"}, "unreadable row"),
    ],
)
def test_an_unwanted_row_is_left_out_with_its_reason(volume, index_row, changes, reason):
    _, left_out, rows = listed(volume([index_row(), index_row(WANTED[:-1] + "2", **changes)]))
    assert [each for _, each in left_out] == [reason]
    assert rows == 2


def test_odd_facts_of_a_row_are_none(volume, index_row):
    row = index_row(name="1p538317657edn____p2313l2m1.img", sol=-1, local_solar_time="15:32\0")
    row = row.replace(b"\t0 \t0 \t", b"\t2147483648 \t-7 \t")
    [product], _, _ = listed(volume([row]))
    assert (product.sol, product.site, product.drive) == (None, None, None)
    assert product.local_solar_time == "15:32"


def test_memory_does_not_grow_with_rows_that_are_left_out(volume, index_row):
    folder = volume([index_row(WANTED.replace("l2", "r2"))] * 20_000)

    def trace_from_row_2000(rows):
        if rows == 2_000:
            tracemalloc.start()

    try:
        with Fetcher() as fetcher:
            list(list_products([resolve(str(folder))], Selection(), fetcher,
                               lambda left_out: None, trace_from_row_2000))  # fmt: skip
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < peak < 18_000 * 10  # bytes, fewer than any object of each row would take


def test_every_row_ends_in_one_product_or_one_reason(volume, index_row):
    names = [f"1p1282871{number:02d}e{kind}0000p2303{eye}m1"
             for number in range(9) for kind in ("ff", "rp") for eye in ("l2", "r2")]  # fmt: skip
    found, left_out, rows = listed(volume([*map(index_row, names), b"junk"]))
    assert len(found) + len(left_out) == rows == 37
    assert Counter(reason for _, reason in left_out) == {
        LeftOutReason.NOT_AN_IMAGE: 9,
        LeftOutReason.NOT_LEFT_EYE: 18,
        LeftOutReason.UNREADABLE_ROW: 1,
    }


@pytest.mark.parametrize("versions", ["139A", "A931", "9A13"])
def test_only_the_highest_version_of_an_image_is_listed(volume, index_row, versions):
    stem = WANTED[:-1]
    found, left_out, _ = listed(volume([index_row(stem + version) for version in versions]))
    assert ids(found) == [f"{stem}A".upper()]
    assert {reason for _, reason in left_out} == {LeftOutReason.SUPERSEDED}
    assert len(left_out) == 3


def test_a_product_in_two_archives_is_listed_once(volume, index_row):
    folder = volume([index_row()])
    found, left_out, _ = listed(folder, folder / "index" / "edrindex.lbl")
    assert len(found) == 1
    assert left_out == [(WANTED.upper(), LeftOutReason.LISTED_TWICE)]


@pytest.mark.parametrize("name", ["EDRINDEX.TAB", "edrindex.tab", "edrindex.tab.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_is_found_in_either_case_and_unpacked_by_its_bytes(volume, index_row, name, packed):
    assert len(listed(volume([index_row()], name=name, packed=packed))[0]) == 1


@pytest.mark.parametrize("name", ["edrindex.lbl", "edrindex.tab.gz"])
def test_an_index_may_be_given_by_its_label_or_its_table(volume, index_row, name):
    folder = volume([index_row()], name="edrindex.tab.gz", packed=True)
    [product], _, _ = listed(folder / "index" / name)
    assert product.image_url.startswith(f"{folder.as_uri()}/data/")


def test_a_damaged_gzip_table_is_a_bad_index(volume, index_row):
    table = volume([index_row()] * 50, packed=True) / "index" / "EDRINDEX.TAB"
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(BadIndexError, match="damaged"):
        listed(table.parent.parent)


@pytest.mark.parametrize("rows", [[], [b"a,b,c", b"<html>"]])
def test_a_table_without_a_readable_row_is_a_bad_index(volume, rows):
    with pytest.raises(BadIndexError, match="no row of 12 fields"):
        listed(volume(rows))


def test_a_line_without_end_is_read_in_bounded_pieces(volume, index_row):
    found, left_out, _ = listed(volume([index_row(), b"x" * 200_000]))
    assert len(found) == 1
    assert {reason for _, reason in left_out} == {LeftOutReason.UNREADABLE_ROW}


@pytest.mark.parametrize(
    "label", ["", "<html>", "PDS_VERSION_ID = PDS3\nEND", "OBJECT = INDEX_TABLE\nEND", "a = (1,"]
)
def test_another_text_than_an_index_label_is_a_bad_index(volume, index_row, label):
    folder = volume([index_row()])
    (folder / "index" / "edrindex.lbl").write_text(label)
    with pytest.raises(BadIndexError, match=r"edrindex\.lbl"):
        listed(folder)


def test_an_index_that_a_volume_lacks_is_not_found(volume, index_row):
    with pytest.raises(NotFoundError, match="rdrindex"):
        listed(volume([index_row()]), products="rdr")


@pytest.fixture
def collection(tmp_path, pds4_label):
    """A PDS4 collection of four products: wanted, thumbnail, right eye, one without a label."""
    folder = tmp_path / "with space"
    folder.mkdir()
    for product, side in {
        "2p129641989rad0361p2600l2c1": 512,
        "2p129641990rad0361p2600l2c1": 64,
        "2p129641991rad0361p2600r2c1": 512,
    }.items():
        label = pds4_label(np.empty((side, side)), "SignedMSB2", product=product,
                           file_name=f"{product}.img")  # fmt: skip
        (folder / f"{product}.xml").write_bytes(label)
    (folder / "collection_data.csv").write_text(
        "P,urn:nasa:pds:b:data:2p129641989rad0361p2600l2c1::1.0\r\n"
        "P,urn:nasa:pds:b:data:2p129641990rad0361p2600l2c1::1.0\r\n"
        "P,urn:nasa:pds:b:data:2p129641991rad0361p2600r2c1::1.0\r\n"
        "P,urn:nasa:pds:b:data:2p129641992rad0361p2600l2c1::1.0\r\n"
        "S,urn:nasa:pds:b:data:2p129641993rad0361p2600l2c1::1.0\r\n"
        "P,urn:nasa:pds:b:data:overview::1.0\r\n"
    )
    return folder


def test_a_pds4_inventory_is_listed_with_sizes_from_its_labels(collection):
    [product], left_out, rows = listed(collection, products="rdr")
    assert product.product_id == "2P129641989RAD0361P2600L2C1"
    assert product.label_url == f"{collection.as_uri()}/2p129641989rad0361p2600l2c1.xml"
    assert product.image_url == f"{collection.as_uri()}/2p129641989rad0361p2600l2c1.img"
    assert (product.lines, product.line_samples, product.sol) == (512, 512, 12)
    assert [reason for _, reason in left_out] == [
        LeftOutReason.NOT_HIGH_RESOLUTION,
        LeftOutReason.NOT_LEFT_EYE,
        LeftOutReason.LABEL_NOT_FOUND,
        LeftOutReason.SECONDARY_MEMBER,
        LeftOutReason.UNREADABLE_NAME,
    ]
    assert rows == 6


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,value\n", "row 1 is not P or S"),
        (f"P,urn:{'x' * 131_073}\n", "field larger than field limit"),
        ("", "it has no row"),
        ("\r\n\r\n", "it has no row"),
    ],
)
def test_another_text_than_an_inventory_is_a_bad_index(tmp_path, text, complaint):
    (tmp_path / "collection.csv").write_text(text)
    with pytest.raises(BadIndexError, match=complaint):
        listed(tmp_path)


def test_an_inventory_without_an_existing_label_is_a_bad_index_naming_one(collection):
    for label in collection.glob("*.xml"):
        label.unlink()
    with pytest.raises(
        BadIndexError, match=r"2p129641992rad0361p2600l2c1\.xml does not exist.*`label`"
    ):
        listed(collection, products="rdr")


def test_an_inventory_without_a_readable_label_is_a_bad_index(collection):
    for product in ("2p129641989", "2p129641990", "2p129641992"):
        label = collection / f"{product}rad0361p2600l2c1.xml"
        label.write_bytes(b"<html>Please log in</html>")
    with pytest.raises(
        BadIndexError, match=r"2p129641992rad0361p2600l2c1\.xml is not a PDS4 label.*`label`"
    ):
        listed(collection, products="rdr")


def test_one_label_that_can_be_read_is_enough_for_an_inventory(collection):
    (collection / "2p129641989rad0361p2600l2c1.xml").unlink()
    products, left_out, _ = listed(collection, products="rdr")
    assert not products
    assert [reason for _, reason in left_out].count(LeftOutReason.LABEL_NOT_FOUND) == 2


def test_an_inventory_of_unwanted_members_is_listed_without_any_label(collection):
    products, left_out, rows = listed(collection, products="edr")
    assert (products, len(left_out), rows) == ([], 6, 6)


def test_a_folder_is_listed_by_names_and_labels(tmp_path, pds3_product, pds4_label):
    pixels = np.arange(512 * 512, dtype=np.int32).reshape(512, 512).astype(np.int16) & 4095
    (tmp_path / "sub").mkdir()
    files = {
        f"sub/{WANTED}.img": pds3_product(pixels),
        "1p128287182eff0000p2303l2m1.img": pds3_product(pixels[:64, :64]),
        "1p128287183eff0000p2303l2m1.img": b"<html>",
        "2p129641989eff0361p2600l2c1.img": pixels.astype(">i2").tobytes(),
        "2p129641989eff0361p2600l2c1.xml": pds4_label(
            pixels, "SignedMSB2", file_name="2p129641989eff0361p2600l2c1.img"
        ),
        "2p129641990eff0361p2600l2c1.xml": b"<orphan/>",
        "notes.txt": b"",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found, left_out, rows = listed(tmp_path)
    assert ids(found) == ["2P129641989EFF0361P2600L2C1", WANTED.upper()]
    assert found[0].label_url == (tmp_path / "2p129641989eff0361p2600l2c1.xml").as_uri()
    assert (found[1].sol, found[1].label_url) == (12, None)
    assert [reason for _, reason in left_out] == [
        LeftOutReason.NOT_HIGH_RESOLUTION,
        LeftOutReason.UNREADABLE_LABEL,
        LeftOutReason.UNREADABLE_NAME,
        LeftOutReason.UNREADABLE_LABEL,
    ]
    assert rows == 6


def test_an_empty_folder_is_a_bad_archive(tmp_path):
    with pytest.raises(BadArchiveError, match="has no files"):
        listed(tmp_path)


def forbid(monkeypatch, path: Path) -> None:
    """Make a file's folder, or a folder, one that may not be read, also for root."""
    scandir, stat = os.scandir, os.stat

    def refuse_one(function):
        def call(target, *args, **options):
            if not isinstance(target, int) and Path(target) == path:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(target, *args, **options)

        return call

    monkeypatch.setattr("os.scandir", refuse_one(scandir))
    monkeypatch.setattr("os.stat", refuse_one(stat))


def test_a_file_or_folder_that_may_not_be_read_is_left_out(tmp_path, pds3_product, monkeypatch):
    pixels = np.arange(512 * 512, dtype=np.int16).reshape(512, 512) & 4095
    closed = tmp_path / "1p128287182eff0000p2303l2m1.img"
    labelled = tmp_path / "1p128287183eff0000p2303l2m1.img"
    for path in (tmp_path / f"{WANTED}.img", closed, labelled, tmp_path / "sub" / "x.img"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pds3_product(pixels))
    labelled.with_suffix(".xml").write_bytes(b"")
    forbid(monkeypatch, closed)
    forbid(monkeypatch, labelled.with_suffix(".xml"))
    forbid(monkeypatch, tmp_path / "sub")
    found, left_out, _ = listed(tmp_path)
    assert ids(found) == [WANTED.upper()]
    assert left_out == [
        (closed.name, LeftOutReason.UNREADABLE_FILE),
        (labelled.name, LeftOutReason.UNREADABLE_FILE),
        (labelled.with_suffix(".xml").name, LeftOutReason.UNREADABLE_FILE),
        ("sub", LeftOutReason.UNREADABLE_FILE),
    ]


def test_a_folder_that_may_not_be_read_is_a_bad_archive(tmp_path, monkeypatch):
    (tmp_path / f"{WANTED}.img").write_bytes(b"")
    forbid(monkeypatch, tmp_path / f"{WANTED}.img")
    with pytest.raises(BadArchiveError, match="has no file that may be read"):
        listed(tmp_path)


def test_an_inventory_in_upper_case_is_compared_with_a_label_in_lower_case(tmp_path):
    (tmp_path / "COLLECTION_DATA_INVENTORY.CSV").write_text(
        "P,urn:nasa:pds:b:data:overview::1.0\r\n"
    )
    (tmp_path / "collection_data.xml").write_text(
        "<C xmlns='x'><File_Area_Inventory><Inventory><records>2</records></Inventory>"
        "</File_Area_Inventory></C>"
    )
    with pytest.raises(ShortListingError, match="ends after 1 of 2 rows"):
        listed(tmp_path / "COLLECTION_DATA_INVENTORY.CSV")


@pytest.mark.real
def test_a_real_row_under_a_real_label_is_listed(real_files: Path, tmp_path):
    index = tmp_path / "mer1po_0xxx" / "index"
    index.mkdir(parents=True)
    label = (real_files / "index" / "mer2po_edrindex.lbl").read_bytes()
    (index / "edrindex.lbl").write_bytes(label.replace(b"203550", b"1"))
    (index / "edrindex.tab").write_bytes(
        (real_files / "index" / "mer1po_edrindex_sample_row.tab").read_bytes()
    )
    [product], _, _ = listed(index.parent)
    assert product.product_id == "1P128287181EFF0000P2303L2M1"
    assert product.image_url.endswith(
        "/mer1po_0xxx/data/sol0001/edr/1p128287181eff0000p2303l2m1.img"
    )
    assert (product.sol, product.local_solar_time) == (1, "15:32:30")


@pytest.mark.real
def test_a_real_index_whose_products_cannot_be_located_is_refused(real_files: Path):
    with pytest.raises(BadIndexError, match="without PATH_NAME, FILE_NAME"):
        listed(real_files / "index" / "mer1do_edrindex.tab")


@pytest.mark.real
def test_of_the_real_files_one_is_wanted(real_files: Path):
    found, left_out, rows = listed(real_files / "products", products="any")
    assert ids(found) == ["2P295043688FFLB1DNP2380L2M1"]
    assert (len(left_out), rows) == (7, 8)


def test_a_link_that_leads_out_of_a_folder_is_left_out(tmp_path, pds3_product):
    pixels = np.arange(512 * 512).reshape(512, 512) & 4095
    folder, outside = tmp_path / "folder", tmp_path / "outside.img"
    folder.mkdir()
    outside.write_bytes(pds3_product(pixels))
    (folder / "1p128287182eff0000p2303l2m1.img").write_bytes(pds3_product(pixels))
    (folder / f"{WANTED}.img").symlink_to(outside)
    (folder / "1p128287183eff0000p2303l2m1.img").symlink_to("1p128287182eff0000p2303l2m1.img")
    found, left_out, rows = listed(folder)
    assert len(found) == 2
    assert left_out == [(f"{WANTED}.img", LeftOutReason.LINK_OUT_OF_FOLDER)]
    assert rows == 3


@pytest.mark.parametrize("suffix", [".lblx", ".LBLX", ".XML"])
def test_a_folder_may_have_labels_of_either_suffix(tmp_path, pds4_label, suffix):
    name = "2p129641989eff0361p2600l2c1"
    pixels = np.arange(512 * 512).reshape(512, 512) & 4095
    (tmp_path / f"{name}.img").write_bytes(pixels.astype(">i2").tobytes())
    label = pds4_label(pixels, "SignedMSB2", file_name=f"{name}.img")
    (tmp_path / f"{name}{suffix}").write_bytes(label)
    [product], left_out, _ = listed(tmp_path)
    assert product.label_url.endswith(suffix)
    assert left_out == []


@pytest.mark.parametrize("name", ["collection.tab", "COLLECTION_DATA_INVENTORY.CSV"])
@pytest.mark.parametrize("separator", [",", "\t", ", ", '","'])
def test_an_inventory_on_disk_may_have_any_name_and_separator(collection, name, separator):
    text = (collection / "collection_data.csv").read_text().replace(",", separator)
    if '"' in separator:
        text = "".join(f'"{row}"\r\n' for row in text.splitlines())
    (collection / "collection_data.csv").unlink()
    (collection / name).write_text(f"{text}\r\n\0")
    found, _, rows = listed(collection, products="rdr")
    assert (len(found), rows) == (1, 6)


def test_a_detached_pds3_label_in_a_folder_is_no_image(tmp_path, pds3_product):
    pixels = np.arange(512 * 512).reshape(512, 512) & 4095
    label = pds3_product(pixels, pointer=f'("{WANTED.upper()}.IMG", 1)')[:2560]
    (tmp_path / f"{WANTED}.lbl").write_bytes(label)
    (tmp_path / f"{WANTED}.img").write_bytes(pixels.astype(">i2").tobytes())
    found, left_out, _ = listed(tmp_path)
    assert (found, {reason for _, reason in left_out}) == ([], {LeftOutReason.UNREADABLE_LABEL})
