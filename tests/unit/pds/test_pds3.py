"""PDS3 labels as archives write them, and the keys that would move pixels."""

import json
from pathlib import Path

import numpy as np
import pytest

from mernet.pds.errors import BlankImageError, DecodeError, TruncatedError
from mernet.pds.image import decode, read_file

NAME = "1p128287181eff0000p2303l2m1.img"
CASES = Path(__file__).parents[3].parent / "shared" / "cases" / "pds3"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"needs {CASES}")


def changed(product: bytes, old: bytes, new: bytes) -> bytes:
    """The product with a change in its label, whose padding takes up the difference in size."""
    assert old in product
    label, rest = product[:2560], product[2560:]
    label = label.replace(old, new).rstrip(b" ")
    assert len(label) <= 2560
    return label.ljust(2560) + rest


@needs_cases
def test_every_case_gives_its_pixels_or_names_the_key():
    for file, facts in json.loads((CASES / "expected.json").read_text()).items():
        if file == "line-suffix.img":
            with pytest.raises(DecodeError, match="LINE_SUFFIX_BYTES"):
                read_file(CASES / file)
            continue
        frame = read_file(CASES / file)
        assert (list(frame.pixels.shape), frame.pixels.sum()) == (
            facts["shape"],
            facts["pixels_sum"],
        ), file
        assert frame.label.start_time.isoformat() == "2004-01-25T07:18:28.620000+00:00"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"^IMAGE = 22", b"^IMAGE = 2689 <BYTES>"),
        (b"^IMAGE = 22", b"^IMAGE = 2689<bytes>"),
        (b"^IMAGE = 22", b"^IMAGE = 22 /* record */"),
        (b"^IMAGE = 22", b"^IMAGE =\r\n  22"),
        (b"^IMAGE = 22", b"^image=22"),
        (b"^IMAGE = 22", b"^IMAGE = 22;"),
        (b"^IMAGE = 22", b"^IMAGE = (2689 <BYTES>)"),
        (b" LINES = 24", b' LINES = "24"'),
        (b" LINES = 24", b" LINES = 24.0"),
        (b"^IMAGE = 22", f'^IMAGE = ("{NAME.upper()}", 22)'.encode()),
        (b"^IMAGE = 22", f'^IMAGE = ("{NAME.upper()}", 2689 <BYTES>)'.encode()),
        (b"PLANET_DAY", b'NOTE = "Caf\xe9 \xb5m"\r\nPLANET_DAY'),
        (b"PLANET_DAY", b"NOTE =\r\nPLANET_DAY"),
        (b"PLANET_DAY", b'NOTE = "several\r\n  lines = 3"\r\nPLANET_DAY'),
        (b"PLANET_DAY", b"X = ((1, 2 <m>), {A, 'b'}, 2#01#)\r\nPLANET_DAY"),
        (b"\r\nEND\r\n", b"\r\nEND"),
        (b"\r\nEND\r\n", b"\r\nend \r\n"),
        (b"\r\n", b"\n"),
        (b"\r\n", b"\r"),
        (b"OBJECT = IMAGE\r\n", b"Object = Image\r\n"),
        (b" LINES = 24", b" lines = 24"),
        (b" LINES = 24", b" LINES = 24 <LINES>"),
        (b"END_OBJECT = IMAGE", b"END_OBJECT"),
        (b"PDS_VERSION_ID = PDS3", b"CCSD3ZF0000100000001NJPL3IF0PDSX00000001 = SFDU_LABEL\r\n"
                                   b"PDS_VERSION_ID = PDS3"),
        (b"PDS_VERSION_ID = PDS3", b"/* one */ /* two */\r\nPDS_VERSION_ID = 'PDS3'"),
        (b"PDS_VERSION_ID = PDS3", b"pds_version_id /* v */ =\r\n PDS3"),
        (b"PDS_VERSION_ID = PDS3", b"\xef\xbb\xbfPDS_VERSION_ID = PDS3"),
        (b"^IMAGE = 22", b"^IMAGE = 22\r\n^IMAGE = 22"),
        (b"^IMAGE = 22", b"^IMAGE = 16#16#"),
        (b"^IMAGE = 22", b"^IMAGE = 22.0"),
        (b" LINES = 24", b" LINES = 16#18#"),
        (b" LINES = 24", b" LINES = 24\r\n LINES = 24.0"),
        (b" BANDS = 1", b' BANDS = "1"\r\n LINE_PREFIX_BYTES = "0"\r\n SUFFIX_BYTES = 16#0#'),
        (b"PLANET_DAY", b"MER:LINES = 3 /* of another dictionary */\r\nPLANET_DAY"),
        (b"RECORD_TYPE = FIXED_LENGTH\r\n", b""),
        (b" BANDS = 1", b" BANDS = 1\r\n BAND_STORAGE_TYPE = LINE_INTERLEAVED"),
    ],
)  # fmt: skip
def test_whatever_a_label_may_legally_look_like_the_pixels_are_the_same(
    pixels, pds3_product, old, new
):
    frame = decode(changed(pds3_product(pixels), old, new), NAME)
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.label.sol == 12


def test_end_may_be_the_last_bytes_of_a_label_with_pixels_directly_behind(pixels, pds3_product):
    product = pds3_product(pixels.clip(0, 255), "u1", sample_type="UNSIGNED_INTEGER")
    label = product[: product.index(b"\r\nEND\r\n") + 5]
    data = np.full(pixels.shape, ord("A"), np.uint8)
    data[0, 1] = ord("B")
    label = label.replace(b"^IMAGE = 22", b"^IMAGE = %d <BYTES>" % (len(label) + 8 + 1))
    label = label.replace(b"RECORD_TYPE = FIXED_LENGTH", b"RECORD_TYPE = UNDEFINED")
    label = label.replace(b"CHECKSUM", b"OLD_CHECKSUM")
    pointer = int(label.split(b"^IMAGE = ")[1].split()[0])
    label = label.replace(b"%d <BYTES>" % pointer, b"%d <BYTES>" % (len(label) + 1))
    frame = decode(label + data.tobytes(), NAME)
    np.testing.assert_array_equal(frame.pixels, data)


@pytest.mark.parametrize(
    "key",
    ["LINE_PREFIX_BYTES", "LINE_SUFFIX_BYTES", "SUFFIX_BYTES", "BAND_SUFFIX_BYTES"],
)
@pytest.mark.parametrize("neutral", ["0", "0 <BYTES>", '"N/A"', "NULL", "UNK"])
def test_a_key_that_moves_pixels_is_refused_by_its_name_unless_it_is_neutral(
    pixels, pds3_product, key, neutral
):
    product = pds3_product(pixels)
    refused = changed(product, b" BANDS", f" {key} = 6\r\n BANDS".encode())
    with pytest.raises(DecodeError, match=f"{key} = 6"):
        decode(refused, NAME)
    neutral_product = changed(product, b" BANDS", f" {key} = {neutral}\r\n BANDS".encode())
    np.testing.assert_array_equal(decode(neutral_product, NAME).pixels, pixels)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ENCODING_TYPE", '"CLEM-JPEG"'),
        ("ENCODING_TYPE", "RUN_LENGTH"),
        ("INTERCHANGE_FORMAT", "ASCII"),
        ("AXIS_ORDER_TYPE", "LAST_INDEX_FASTEST"),
        ("BAND_STORAGE_TYPE", "TILED"),
        ("LINE_DISPLAY_DIRECTION", "UP"),
        ("SAMPLE_DISPLAY_DIRECTION", "LEFT"),
        ("SCALING_FACTOR", "-1.0"),
        ("LINE_PREFIX_STRUCTURE", '"PREFIX.FMT"'),
        ("BANDS", "3"),
    ],
)
def test_a_key_that_gives_pixels_another_order_is_refused_by_its_name(
    pixels, pds3_product, key, value
):
    product = changed(pds3_product(pixels), b" CHECKSUM", f" {key} = {value}\r\n CHECKSUM".encode())
    with pytest.raises(DecodeError, match=key):
        decode(product, NAME)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b"^IMAGE = 22", b'^IMAGE = ("OTHER.IMG", 22)', "OTHER.IMG.*detached"),
        (b"^IMAGE = 22", b'^IMAGE = "OTHER.IMG"', "OTHER.IMG.*detached"),
        (b"^IMAGE = 22", b"^IMAGE = 22 <KM>", r"\^IMAGE"),
        (b"^IMAGE = 22", b"^IMAGE = 22\r\n^IMAGE = 23", r"2 pointers \^IMAGE"),
        (b"^IMAGE = 22", b"^QUBE = 22", r"0 pointers \^IMAGE"),
        (b"^IMAGE = 22", b"^IMAGE = 22\r\n^COMPRESSED_FILE = 3", "COMPRESSED_FILE"),
        (b"RECORD_TYPE = FIXED", b"RECORD_TYPE = VARIABLE", "RECORD_TYPE"),
        (b" LINES = 24", b" LINES = 24\r\n LINES = 12", "LINES = 24 and 12"),
        (b" LINES = 24", b" LINES = 2#9#", "LINES = '2#9#'"),
        (b" LINES = 24\r\n", b"", "a label without LINES"),
        (b"^IMAGE = 22", b"^IMAGE = 22 <KB>", r"\^IMAGE = 22 <KB>"),
        (b" BANDS = 1", b" BANDS = 1\r\n PDS:LINE_SUFFIX_BYTES = 6", "LINE_SUFFIX_BYTES = 6"),
        (b"END_OBJECT = IMAGE", b"END_OBJECT = IMAGE\r\nOBJECT = IMAGE\r\nEND_OBJECT", "2 images"),
        (b"END_OBJECT = IMAGE", b"END_OBJECT = TABLE", "line 27.*closed as 'TABLE'"),
        (b"PLANET_DAY", b"A=1=2=3\r\nPLANET_DAY", "line 9"),
    ],
)
def test_a_label_that_means_something_else_is_refused_with_the_cause(
    pixels, pds3_product, old, new, complaint
):
    with pytest.raises(DecodeError, match=complaint):
        decode(changed(pds3_product(pixels), old, new), NAME)


def test_a_label_without_end_is_truncated(pixels, pds3_product):
    product = pds3_product(pixels)
    with pytest.raises(TruncatedError, match="ends within its label"):
        decode(product[: product.index(b"\r\nEND\r\n")], NAME)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2004-025T07:18:28.620Z", "2004-01-25T07:18:28.620000+00:00"),
        ("2004-366T00:00:00", "2004-12-31T00:00:00+00:00"),
        ("2005-12-31T23:59:60Z", "2006-01-01T00:00:00+00:00"),
        ("2005-12-31T23:59:60.5Z", "2006-01-01T00:00:00.500000+00:00"),
        ("2005-365T23:59:60", "2006-01-01T00:00:00+00:00"),
        ("2004-01-25", "2004-01-25T00:00:00+00:00"),
        ('"2004-01-25T07:18:28"', "2004-01-25T07:18:28+00:00"),
        ("2004-01-25T07:18", "2004-01-25T07:18:00+00:00"),
        ("2004-025t07:18:28z", "2004-01-25T07:18:28+00:00"),
        ("2004-01-25T07:18:28.62012345678901Z", "2004-01-25T07:18:28.620123+00:00"),
        ("2004-025T07:18:28 <UTC>", "2004-01-25T07:18:28+00:00"),
        ("/* when */ '2004-025'", "2004-01-25T00:00:00+00:00"),
    ],
)
def test_the_times_of_the_standard_are_read(pixels, pds3_product, text, iso):
    facts = decode(pds3_product(pixels, start_time=text), NAME).label
    assert facts.start_time.isoformat() == iso


@pytest.mark.parametrize(
    "text", ["UNK", '"N/A"', "2005-366T00:00:00", "2004-13-01", "2004-01-25T24:30:00", "-9999",
             "2004-000", "0001-01-01T00:00:00+23:59", "20040125", "2004-W04-7"]
)  # fmt: skip
def test_what_is_not_a_time_of_the_standard_is_none(pixels, pds3_product, text):
    assert decode(pds3_product(pixels, start_time=text), NAME).label.start_time is None


@pytest.mark.parametrize(
    "counter",
    ["(34, 5, 0, 0, 0)", "{34, 5}", "(34 <SITE>, 5 <DRIVE>)", "(34,\r\n 5, 0)", "(16#22#, 5.0)"],
)
def test_site_and_drive_are_the_first_of_the_motion_counter(pixels, pds3_product, counter):
    product = pds3_product(pixels, sol=f"12\r\nROVER_MOTION_COUNTER = {counter}")
    facts = decode(product, NAME).label
    assert (facts.site, facts.drive) == (34, 5)


def reals(pds3_product, pixels, constant):
    """A derived product of reals with a special constant."""
    product = pds3_product(pixels.astype(">f4"), ">f4", sample_type="IEEE_REAL", checksum="1")
    product = product.replace(b"-EDR-", b"-RDR-")
    return changed(product, b" BANDS", f" MISSING_CONSTANT = {constant}\r\n BANDS".encode())


@pytest.mark.parametrize(("constant", "value"), [("0.0", 0.0), ("-1.0E32", -1.0e32)])
def test_fill_values_of_reals_count_as_pixels_as_in_the_archives_browse_images(
    pds3_product, constant, value
):
    pixels = np.arange(5, 29, dtype=np.float32).reshape(4, 6)
    pixels[0, :2] = value
    found = decode(reals(pds3_product, pixels, constant), NAME).pixels
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("constant", ["-3.4028226550889045E+38", "16#FF7FFFFB#"])
def test_an_image_of_reals_of_one_value_and_fill_values_is_blank(pds3_product, constant):
    pixels = np.full((4, 6), 7.0)
    pixels[0, :2] = -3.4028226550889045e38
    with pytest.raises(BlankImageError, match="with a measurement"):
        decode(reals(pds3_product, pixels, constant), NAME)


@pytest.mark.parametrize("constant", ["0", "0.0", "16#0#", "2#0000#", "0 <DN>"])
def test_a_special_constant_of_integers_may_have_another_base(pds3_product, constant):
    pixels = np.zeros((8, 8), np.int16)
    pixels[2:4] = 4095
    product = changed(
        pds3_product(pixels), b" BANDS", f" INVALID_CONSTANT = {constant}\r\n BANDS".encode()
    )
    with pytest.raises(BlankImageError, match="with a measurement"):
        decode(product, NAME)


@pytest.mark.parametrize("value", [0, 7, 4095])
def test_an_image_of_one_value_is_blank(pds3_product, value):
    with pytest.raises(BlankImageError, match=f"{NAME}.*{value}"):
        decode(pds3_product(np.full((8, 8), value)), NAME)


def test_an_image_whose_received_pixels_are_all_saturated_is_blank(pds3_product):
    pixels = np.full((8, 8), 4095)
    pixels[:4] = 0
    product = changed(pds3_product(pixels), b" BANDS", b" MISSING_CONSTANT = 0.0\r\n BANDS")
    with pytest.raises(BlankImageError, match="one value"):
        decode(product, NAME)


@pytest.mark.parametrize(
    ("statements", "share"),
    [
        ("", None),
        ("ERROR_PIXELS = 96", 0.25),
        ('ERROR_PIXELS = "N/A"', None),
        ("ERROR_PIXELS = -1", None),
        ("ERROR_PIXELS = 0", 0.0),
        ("ERROR_PIXELS = 9999", 1.0),
        ("EXPECTED_PACKETS = 8\r\nRECEIVED_PACKETS = 4", 0.5),
        ("EXPECTED_PACKETS = 8\r\nRECEIVED_PACKETS = 9", 0.0),
        ("EXPECTED_PACKETS = 8", None),
        ("EXPECTED_PACKETS = 0\r\nRECEIVED_PACKETS = 0", None),
        ("INST_CMPRS_SEG_MISSING_PIXELS = (0, 96, 96)", 0.5),
        ("ERROR_PIXELS = 96\r\nEXPECTED_PACKETS = 8\r\nRECEIVED_PACKETS = 4", 0.5),
    ],
)
def test_the_share_of_missing_pixels_is_that_of_the_label(pixels, pds3_product, statements, share):
    group = f"\r\nGROUP = COMPRESSION_PARMS\r\n{statements}\r\nEND_GROUP\r\nOBJECT = IMAGE\r\n"
    product = changed(pds3_product(pixels), b"\r\nOBJECT = IMAGE\r\n", group.encode())
    assert decode(product, NAME).missing_share == share


@pytest.mark.real
def test_real_labels_say_what_is_missing(real_files: Path):
    name = "2p295043688fflb1dnp2380l2m1.img"
    assert read_file(real_files / "products" / name).missing_share == 62 / 1024**2
