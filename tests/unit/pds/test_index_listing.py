"""Index tables as archives have them: short and long ones, sizes, places, separators, bounds."""

import gzip
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mernet.pds.archive import resolve
from mernet.pds.completeness import CompletenessCheck
from mernet.pds.errors import BadIndexError, CutLabelError, PdsError, ShortListingError
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import list_products
from mernet.pds.selection import LeftOutReason, Selection

WANTED = "1p128287181eff0000p2303l2m1"
COLUMNS = ("PATH_NAME", "FILE_NAME", "ROVER_MOTION_COUNTER", "START_TIME", "LINES", "LINE_SAMPLES")
CASES = Path(__file__).parents[3].parent / "shared" / "cases" / "listing"


def label_of(columns=COLUMNS, table="", **keywords):
    """An index label; `keywords` are those of the file, `table` statements of the table."""
    pointer = keywords.pop("pointer", '"EDRINDEX.TAB"')
    return "\r\n".join(
        [
            "PDS_VERSION_ID = PDS3",
            "RECORD_TYPE = FIXED_LENGTH",
            *(f"{key} = {value}" for key, value in keywords.items()),
            f"^INDEX_TABLE = {pointer}",
            "OBJECT = INDEX_TABLE",
            table,
            *(
                f"OBJECT = COLUMN\r\n NAME = {name}\r\n"
                + (" ITEMS = 5\r\n" if name == "ROVER_MOTION_COUNTER" else "")
                + "END_OBJECT = COLUMN"
                for name in columns
            ),
            "END_OBJECT = INDEX_TABLE",
            "END\r\n",
        ]
    )


def row_of(number=0, separator="\t", **changes):
    """A row of the six columns; `changes` replace values."""
    values = {
        "path": '"/mer1po_0xxx/data/sol0001/edr/   "',
        "name": f'"{name_of(number)}.img "',
        "motion": separator.join(["0 ", "0", "1", "34", "0"]),
        "start": "2004-01-25T07:18:28Z",
        "lines": "1024",
        "samples": "1024 ",
    }
    return separator.join((values | changes).values())


def name_of(number):
    return f"1p{128287181 + number:09d}eff0000p2303l2m1"


@pytest.fixture
def volume(tmp_path):
    """Makes a volume of an index label and the bytes of its table."""

    def make(label, table, folder="mer1po_0xxx/index", names=("edrindex.lbl", "edrindex.tab")):
        index = tmp_path / folder
        index.mkdir(parents=True, exist_ok=True)
        (index / names[0]).write_text(label, newline="")
        text = (
            table if isinstance(table, bytes) else "".join(f"{row}\r\n" for row in table).encode()
        )
        (index / names[1]).write_bytes(text)
        return index.parent

    return make


def listed(path, *, products="edr", accept_short=False):
    """The products that are listed, and (name, reason) of what is left out."""
    left_out = []
    completeness = CompletenessCheck(accept_short)
    with Fetcher() as fetcher:
        found = list(
            list_products(
                [resolve(str(path))],
                Selection(products),
                fetcher,
                left_out.append,
                lambda _: None,
                completeness=completeness,
            )
        )
    return found, [(entry.name, entry.reason) for entry in left_out]


@pytest.mark.skipif(not CASES.is_dir(), reason=f"needs {CASES}")
def test_every_case_of_a_listing_ends_as_it_is_right(caplog):
    def case(name):
        return CASES / name / "mer1po_0xxx"

    with pytest.raises(ShortListingError, match="after 4 of 10 rows"):
        listed(case("rows-short"))
    assert len(listed(case("rows-short"), accept_short=True)[0]) == 4
    assert len(listed(case("rows-extra"))[0]) == 10
    assert "promised 9" in caplog.text
    [product], _ = listed(case("lines-decimal"))
    assert (product.lines, product.line_samples) == (1024, 1024)
    with pytest.raises(BadIndexError, match="size"):
        listed(case("size-not-available"))
    [product], _ = listed(case("path-from-volume-root"))
    assert product.image_url.endswith(f"/mer1po_0xxx/data/sol0001/edr/{WANTED}.img")
    assert len(listed(case("comma-separated"))[0]) == 10
    [product], _ = listed(case("day-of-year"))
    assert product.start_time == datetime(2004, 1, 25, 7, 18, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("keywords", "table"),
    [
        ({}, "ROWS = 3"),
        ({"FILE_RECORDS": 3}, ""),
        ({"FILE_RECORDS": 3}, "ROWS = 2"),
        ({"FILE_RECORDS": 2}, "ROWS = 3"),
        ({"FILE_RECORDS": 5, "pointer": '("EDRINDEX.TAB", 3)'}, ""),
    ],
)
def test_a_table_that_ends_early_is_refused_and_can_be_accepted(volume, keywords, table, caplog):
    rows = [row_of(), row_of(1)]
    if "pointer" in keywords:
        rows = ["header", "", *rows]
    folder = volume(label_of(table=table, **keywords), rows)
    with pytest.raises(ShortListingError, match="ends after 2 of 3 rows"):
        listed(folder)
    found, _ = listed(folder, accept_short=True)
    assert len(found) == 2
    assert "ends after 2 of 3 rows" in caplog.text


@pytest.mark.parametrize("cut", range(1, len(row_of())))
def test_a_table_that_ends_inside_a_row_is_short(volume, cut):
    rows = [row_of(), row_of(1), row_of(2)[:-cut]]
    folder = volume(label_of(table="ROWS = 3"), "\r\n".join(rows).encode())
    with pytest.raises(ShortListingError, match="ends after 2 of 3 rows"):
        listed(folder)


def test_the_last_row_of_a_table_may_have_no_end(volume):
    rows = [row_of(), row_of(1, motion="0\t0\t1\t34\t1000"), row_of(2, samples="1024")]
    found, _ = listed(volume(label_of(table="ROWS = 3"), "\n".join(rows).encode()))
    assert len(found) == 3


def test_a_row_that_cannot_be_read_in_the_middle_of_a_table_does_not_make_it_short(volume):
    found, left_out = listed(volume(label_of(table="ROWS = 3"), [row_of(), "junk", row_of(1)]))
    assert len(found) == 2
    assert left_out == [("row 2", LeftOutReason.UNREADABLE_ROW)]


def test_more_rows_than_promised_are_listed_with_a_warning(volume, caplog):
    with caplog.at_level(logging.WARNING):
        found, _ = listed(volume(label_of(table="ROWS = 1"), [row_of(), row_of(1)]))
    assert len(found) == 2
    assert "has 2 rows; its label promised 1" in caplog.text


@pytest.mark.parametrize("end", [b"\r\n\r\n \r\n", b"\x1a", b"\0" * 600, b"", b"\r\n\x1a\0\0"])
@pytest.mark.parametrize("break_", [b"\r\n", b"\n", b"\r"])
def test_blank_rows_and_fillings_at_the_end_are_no_rows(volume, end, break_):
    table = break_.join([row_of().encode(), row_of(1).encode()]) + end
    found, left_out = listed(volume(label_of(table="ROWS = 2\r\nROW_BYTES = 93"), table))
    assert (len(found), left_out) == (2, [])


@pytest.mark.parametrize(
    "lines",
    [
        '"N/A"',
        "UNK",
        "NULL",
        "-9999",
        "0",
        '""',
        "  ",
        "TBD",
        "none",
        "-",
        "NaN",
        '"Not available"',
    ],
)
def test_a_row_without_a_size_has_a_reason_of_its_own(volume, lines):
    found, left_out = listed(volume(label_of(), [row_of(), row_of(1, lines=lines)]))
    assert len(found) == 1
    assert left_out == [(f"{name_of(1)}.img", LeftOutReason.SIZE_NOT_AVAILABLE)]


@pytest.mark.parametrize(
    "size",
    ["1024.0", '"1024"', "1024.", "+1024", "1.024E3", " 1024.000 ", "'1024'", "16#400#", "01024"],
)
def test_a_size_may_be_written_as_any_number(volume, size):
    [product], _ = listed(volume(label_of(), [row_of(lines=size, samples=size)]))
    assert (product.lines, product.line_samples) == (1024, 1024)


def test_a_table_none_of_whose_wanted_rows_has_a_size_is_a_bad_index(volume):
    rows = [row_of(lines="N/A"), row_of(1, name='"1p128287181eff0000p2303r2m1.img"')]
    with pytest.raises(BadIndexError, match=r"None of the 1 wanted rows .* has a size"):
        listed(volume(label_of(), rows))


@pytest.mark.parametrize("lines", ["many", "1024.5", "1,024", "0x400", "1024px", "9" * 40, "inf"])
def test_a_table_all_of_whose_sizes_are_damaged_is_a_bad_index(volume, lines):
    rows = [row_of(lines=lines), row_of(1, lines=lines)]
    with pytest.raises(BadIndexError, match=r"None of the 2 wanted rows .* has a size"):
        listed(volume(label_of(), rows))


@pytest.mark.parametrize("path", ['"N/A"', '"//host/data/"', '"../data/"', '"http://host/x/"'])
def test_a_table_none_of_whose_wanted_rows_has_a_place_is_a_bad_index(volume, path):
    rows = [row_of(path=path), row_of(1, name='"1p128287181eff0000p2303r2m1.img"')]
    with pytest.raises(BadIndexError, match=r"None of the 1 wanted rows .* says where its file is"):
        listed(volume(label_of(), rows))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_label_that_is_cut_off_is_told_from_a_bad_one(volume, share):
    label = label_of()
    with pytest.raises(CutLabelError, match="ends before its END"):
        listed(volume(label[: int(share * len(label))], [row_of()]))


@pytest.mark.parametrize(
    "table",
    [
        "".join(f"{row_of(number)}\r\n" for number in range(3)).encode("utf-16"),
        f"{row_of(name='readme.txt')}\r\n".encode(),
    ],
    ids=["UTF-16", "other files"],
)
def test_a_table_without_a_product_name_is_a_bad_index(volume, table):
    with pytest.raises(BadIndexError, match="has the name of a MER product"):
        listed(volume(label_of(), table))


@pytest.mark.parametrize(
    "name", ["IMAGE_INDEX_TABLE", "RDR_INDEX_TABLE", "CUMINDEX_TABLE", "TABLE", "PANCAM_TABLE"]
)
def test_the_table_of_an_index_may_have_any_name(volume, name):
    label = label_of().replace("INDEX_TABLE", name)
    assert len(listed(volume(label, [row_of()]))[0]) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_row(volume):
    table = b"\xef\xbb\xbf" + f"{row_of(path='data/')}\r\n{row_of(1, path='data/')}".encode()
    found, left_out = listed(volume(label_of(), table))
    assert [each.image_url.rpartition("/mer1po_0xxx/")[2] for each in found] == [
        f"data/{name_of(0)}.img",
        f"data/{name_of(1)}.img",
    ]
    assert left_out == []


@pytest.mark.parametrize("rows", ["4", '"4"', "4.0", "4 <ROWS>", "16#4#", "2#100#", "+4"])
def test_the_promised_number_of_rows_may_be_written_as_any_number(volume, rows):
    with pytest.raises(ShortListingError, match="ends after 1 of 4 rows"):
        listed(volume(label_of(table=f"ROWS = {rows}"), [row_of()]))


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|", " , "])
def test_the_separator_is_taken_from_the_rows(volume, separator):
    rows = [row_of(separator=separator), row_of(1, separator=separator)]
    [product, _], left_out = listed(volume(label_of(table="ROWS = 2"), rows))
    assert left_out == []
    assert (product.lines, product.start_time.day) == (1024, 25)
    assert product.image_url.endswith(f"/edr/{WANTED}.img")


def test_a_separator_within_quotes_is_part_of_the_value(volume):
    rows = [row_of(separator=",", start='"a, b"')]
    [product], _ = listed(volume(label_of(), rows))
    assert (product.start_time, product.lines) == (None, 1024)


def test_rows_of_fixed_width_are_read_by_the_places_in_the_label(volume):
    widths = {"PATH_NAME": 40, "FILE_NAME": 32, "LINES": 6, "LINE_SAMPLES": 6}
    label = ["PDS_VERSION_ID = PDS3", '^INDEX_TABLE = "EDRINDEX.TAB"', "OBJECT = INDEX_TABLE"]
    start = 1
    for name, width in widths.items():
        label += ["OBJECT = COLUMN", f"NAME = {name}", f"START_BYTE = {start}", f"BYTES = {width}",
                  "END_OBJECT = COLUMN"]  # fmt: skip
        start += width
    label += ["END_OBJECT = INDEX_TABLE", "END"]
    values = ("/mer1po_0xxx/data/sol0001/edr/", f"{WANTED}.img", "1024", "  1024")
    row = "".join(map(str.ljust, values, widths.values()))
    [product], _ = listed(volume("\r\n".join(label), [row]))
    assert product.image_url.endswith(f"/mer1po_0xxx/data/sol0001/edr/{WANTED}.img")
    assert product.lines == 1024


@pytest.mark.parametrize(
    "path",
    [
        "/mer1po_0xxx/data/sol0001/edr/", "mer1po_0xxx/data/sol0001/edr", "data/sol0001/edr/",
        "/data/sol0001/edr/", "/MER1PO_0XXX/DATA/SOL0001/EDR/", r"mer1po_0xxx\data\sol0001\edr",
        "/img/data/mer/opportunity/mer1po_0xxx/data/sol0001/edr/", "data//sol0001/edr",
        "./data/sol0001/edr/", "mer1po_0xxx/./data/sol0001/edr",
    ],
)  # fmt: skip
def test_path_name_leads_to_the_file_from_the_volume_or_from_above_it(volume, path):
    name = f'"{WANTED.upper()}.IMG"' if path.isupper() else f'"{WANTED}.img"'
    folder = volume(label_of(), [row_of(path=f'"{path}"', name=name)])
    [product], _ = listed(folder)
    assert product.image_url == f"{folder.as_uri()}/data/sol0001/edr/{WANTED}.img"
    assert product.browse_url == f"{folder.as_uri()}/browse/sol0001/edr/{WANTED}.img.jpg"


def test_another_volume_is_beside_this_one(volume):
    folder = volume(label_of(), [row_of(path='"/mer1po_0yyy/data/sol0001/edr/"')])
    [product], _ = listed(folder)
    assert (
        product.image_url == f"{folder.parent.as_uri()}/mer1po_0yyy/data/sol0001/edr/{WANTED}.img"
    )


def test_a_volume_on_disk_is_found_whatever_its_folder_and_case_are_called(volume):
    folder = volume(label_of(), [row_of()], "my copy/index")
    file = folder / "DATA" / "SOL0001" / "EDR" / f"{WANTED.upper()}.IMG"
    file.parent.mkdir(parents=True)
    file.touch()
    [product], _ = listed(folder)
    assert product.image_url == file.as_uri()


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("v/INDEX", ("EDRINDEX.LBL", "EDRINDEX.TAB")),
        ("v/INDEX", ("edrindex.lbl", "edrindex.tab")),
        ("v/index", ("EDRINDEX.LBL", "edrindex.tab")),
        ("v/index", ("edrindex.lbl", "EDRINDEX.TAB")),
    ],
)
@pytest.mark.parametrize("pointer", ['"EDRINDEX.TAB"', '"edrindex.tab"', '"EdrIndex.Tab"'])
def test_folders_and_names_may_be_in_either_case(volume, folder, names, pointer):
    found, _ = listed(volume(label_of(pointer=pointer), [row_of()], folder, names))
    assert len(found) == 1
    table = volume(label_of(pointer=pointer), [row_of()], folder, names) / folder[2:] / names[1]
    if names[0].isupper() == names[1].isupper():
        assert len(listed(table)[0]) == 1


@pytest.mark.parametrize(
    "pointer",
    [
        "../secret.tab", "/etc/passwd", "//host/x.tab", "..", "a/b.tab", r"a\b.tab", "%2e%2e%2fx",
        "http://host/x.tab", "C:x.tab", "x\0y", "x?y", "x#y", " ", "x" * 300,
    ],
)  # fmt: skip
def test_a_label_whose_table_is_elsewhere_is_a_bad_index(volume, pointer):
    with pytest.raises(BadIndexError, match="plain file name"):
        listed(volume(label_of(pointer=f'"{pointer}"'), [row_of()]))


@pytest.mark.parametrize(
    "path",
    ["/v/data/../../x", "//host/data", "%2e%2e/data", "data/%2e%2e%2f%2e%2e", "C:/data", "..",
     r"\\host\data", "data/.%2e/x", "http://host/data", "N/A", "UNK"],
)  # fmt: skip
def test_a_row_whose_folder_is_elsewhere_is_left_out(volume, path):
    found, left_out = listed(volume(label_of(), [row_of(), row_of(1, path=f'"{path}"')]))
    assert len(found) == 1
    assert left_out == [(f"{name_of(1)}.img", LeftOutReason.UNREADABLE_ROW)]


@pytest.mark.parametrize(
    "end", [".img/../../x", ".img/x", r".img\x", ".img%2fx", ".img?x", ".img#x", ".img\0x", "./x"]
)
def test_a_row_whose_file_is_elsewhere_is_left_out(volume, end):
    rows = [row_of(), row_of(1, name=f'"{name_of(1)}{end}"')]
    found, left_out = listed(volume(label_of(), rows))
    assert len(found) == 1
    assert [reason for _, reason in left_out] == [LeftOutReason.UNREADABLE_NAME]
    assert all(name.isprintable() for name, _ in left_out)


@pytest.mark.parametrize("table", ["ROWS = 2\r\nROW_BYTES = 100", ""])
def test_a_packed_table_that_unpacks_to_far_more_than_promised_is_refused(volume, table):
    packed = gzip.compress(row_of().encode() + b"\r\n" + b" " * 80_000_000, 9)
    with pytest.raises(BadIndexError, match="far more than its label promises"):
        listed(volume(label_of(table=table), packed))


def test_a_packed_table_of_the_promised_size_is_listed(volume):
    rows = "".join(row_of(number) + " " * 800 + "\r\n" for number in range(200)).encode()
    label = label_of(table="ROWS = 200\r\nROW_BYTES = 890")
    assert len(listed(volume(label, gzip.compress(rows)))[0]) == 200


@pytest.mark.parametrize(
    "change",
    ["ITEMS = 5|ITEMS = 999999999", "ITEMS = 5|ITEMS = -1", "ITEMS = 5|ITEMS = 1E9",
     "END_OBJECT = INDEX_TABLE|", "OBJECT = INDEX_TABLE|A=1=2=3"],
)  # fmt: skip
def test_a_label_with_absurd_columns_is_a_bad_index(volume, change):
    old, _, new = change.partition("|")
    with pytest.raises(BadIndexError, match=r"edrindex\.lbl|no row of"):
        listed(volume(label_of().replace(old, new), [row_of()]))


@pytest.mark.parametrize("blank", ["\n", "\r", "\r\n", " ", "\t", "\n ", "\nEND"])
def test_a_label_of_a_megabyte_of_blanks_is_read_in_one_pass(volume, blank):
    label = f"PDS_VERSION_ID = PDS3\r\nA = ({blank * (1_000_000 // len(blank))}"
    with pytest.raises(BadIndexError):
        listed(volume(label, [row_of()]))


def test_rows_before_the_table_are_skipped_by_bytes_or_by_records(volume):
    table = b"HEADER\r\n" + row_of().encode() + b"\r\n"
    for pointer in ('("EDRINDEX.TAB", 2)', '("EDRINDEX.TAB", 9 <BYTES>)'):
        label = label_of(pointer=pointer, table="ROWS = 1")
        found, left_out = listed(volume(label, table))
        assert (len(found), left_out) == (1, [])


def test_a_table_without_sizes_takes_them_from_the_labels_of_wanted_products(
    volume, pds3_product, pixels
):
    columns = COLUMNS[:-2]
    rows = [row_of(number).rsplit("\t", 2)[0] for number in range(5)]
    rows.append(row_of(9, name='"1p128287181eff0000p2303r2m1.img"').rsplit("\t", 2)[0])
    folder = volume(label_of(columns), rows)
    data = folder / "data" / "sol0001" / "edr"
    data.mkdir(parents=True)
    large = pds3_product(pixels, lines=1024, line_samples=1024)
    for number, content in enumerate([large, pds3_product(pixels), b"<html>", large]):
        (data / f"{name_of(number)}.img").write_bytes(content)
    found, left_out = listed(folder)
    assert [product.product_id for product in found] == [name_of(0).upper(), name_of(3).upper()]
    assert [reason for _, reason in left_out] == [
        LeftOutReason.NOT_HIGH_RESOLUTION,
        LeftOutReason.UNREADABLE_LABEL,
        LeftOutReason.LABEL_NOT_FOUND,
        LeftOutReason.NOT_LEFT_EYE,
    ]


def test_a_table_without_sizes_and_without_any_label_is_a_bad_index(volume):
    rows = [row_of(number).rsplit("\t", 2)[0] for number in range(5)]
    with pytest.raises(BadIndexError, match="label of none of its products"):
        listed(volume(label_of(COLUMNS[:-2]), rows))


IMAGES = "RSD RSL RAL RAD MRD MRL IOF IOL ILF ILL ISF ISL INN ITH FFL SFL DNL THN"
OTHERS = "XYZ XYL RNG RNL DSP DSL UVW SLP RUF IDD MSK ERP ERS ECS EHG"


@pytest.mark.parametrize(
    ("kind", "is_image"),
    [(kind, kinds is IMAGES) for kinds in (IMAGES, OTHERS) for kind in kinds.split()],
)
def test_derived_images_are_known_by_their_family(volume, kind, is_image):
    rows = [row_of(name=f'"1p128287181{kind.lower()}0000p2303l2m1.img"')]
    names = ("rdrindex.lbl", "edrindex.tab")
    found, left_out = listed(volume(label_of(), rows, names=names), products="rdr")
    assert bool(found) == is_image
    assert is_image or left_out[0][1] is LeftOutReason.NOT_AN_IMAGE


def test_one_damaged_archive_ends_in_one_of_our_errors(volume, monkeypatch):
    def defect(*_):
        raise RuntimeError("generator raised StopIteration\x1b")

    monkeypatch.setattr("mernet.pds.index_table.parse_label", defect)
    with pytest.raises(PdsError, match=r"cannot be listed \(RuntimeError.*\\x1b"):
        listed(volume(label_of(), [row_of()]))


def test_columns_of_path_and_name_in_one_are_read(volume):
    columns = ("FILE_SPECIFICATION_NAME", "LINES", "LINE_SAMPLES")
    folder = volume(label_of(columns), [f'"DATA/SOL0001/{WANTED.upper()}.IMG"\t1024\t1024'])
    [product], _ = listed(folder)
    assert product.image_url == f"{folder.as_uri()}/DATA/SOL0001/{WANTED.upper()}.IMG"
