"""Decoding and rendering."""

import contextlib
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mernet.pds.errors import (
    BlankImageError,
    DamagedError,
    DecodeError,
    NotFoundError,
    OversizedError,
    PdsError,
    TruncatedError,
)
from mernet.pds.image import Frame, decode, read_file
from mernet.pds.pds3 import read_label
from mernet.pds.rendering import render

NAME = "1p128287181eff0000p2303l2m1.img"


def frame_of(pixels, label=None):
    return Frame(np.asarray(pixels), label)


def test_a_pds3_product_gives_its_pixels_and_facts(pixels, pds3_product):
    frame = decode(pds3_product(pixels), NAME)
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert (frame.label.lines, frame.label.line_samples) == pixels.shape
    assert frame.label.sol == 12
    assert frame.label.start_time.isoformat() == "2004-01-25T07:18:28.500000+00:00"
    assert frame.label.local_solar_time == "13:56:50"
    assert frame.label.filter_name == "PANCAM_L2_753NM"


def test_a_label_is_read_without_the_pixels_behind_it(pixels, pds3_product):
    data = pds3_product(pixels)
    assert read_label(data[:2560], NAME) == decode(data, NAME).label


@pytest.mark.parametrize("missing", [1, 100, 700])
def test_a_truncated_file_is_a_decode_error_naming_the_file(pixels, pds3_product, missing):
    with pytest.raises(TruncatedError, match=NAME):
        decode(pds3_product(pixels)[:-missing], NAME)


def test_a_file_that_ends_in_its_label_is_truncated(pixels, pds3_product):
    with pytest.raises(TruncatedError, match="ends within its label"):
        decode(pds3_product(pixels)[:500], NAME)


def test_a_truncated_file_may_be_whole_in_the_archive_but_a_damaged_one_is_proven():
    """A server that states too short a length delivers the same bytes as a truncated file."""
    assert not TruncatedError.is_lasting
    assert DamagedError.is_lasting


def test_an_empty_file_is_truncated():
    with pytest.raises(TruncatedError, match="is empty"):
        decode(b"", NAME)


@pytest.mark.parametrize(
    "data", [b"<html>Please log in</html>", b"\xff\xd8\xff\xe0JFIF" + bytes(900), bytes(4096)]
)
def test_what_has_no_pds3_label_is_undecodable(data):
    with pytest.raises(DecodeError, match="web page"):
        decode(data, NAME)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"pointer": 30}, "wrong pointer"),
        ({"pointer": 1}, "wrong pointer"),
        ({"pointer": '("OTHER.IMG", 1)'}, "same file"),
        ({"pointer": '"/etc/hostname"'}, "same file"),
        ({"bands": 3}, "BANDS = 3"),
        ({"lines": 0}, NAME),
        ({"lines": '"N/A"'}, NAME),
        ({"file_records": '"UNK"'}, "FILE_RECORDS = 'UNK'"),
        ({"lines": 48}, "wrong pointer"),
        ({"sample_bits": 7}, NAME),
        ({"record_bytes": 64}, "do not belong together"),
    ],
)
def test_a_label_that_contradicts_its_file_is_a_decode_error(
    pixels, pds3_product, changes, complaint
):
    with pytest.raises(DecodeError, match=complaint):
        decode(pds3_product(pixels, **changes), NAME)


def test_an_absurd_size_is_refused_before_pixels_are_read(pixels, pds3_product):
    with pytest.raises(OversizedError, match="more than any MER image"):
        decode(pds3_product(pixels, lines=100_000, line_samples=100_000), NAME)


def test_a_changed_pixel_of_a_raw_product_is_noticed_by_its_checksum(pixels, pds3_product):
    data = bytearray(pds3_product(pixels))
    data[-2] ^= 0x08
    with pytest.raises(DamagedError, match="add up to"):
        decode(bytes(data), NAME)


@pytest.mark.parametrize("changes", [{"data_set": "ILUT", "checksum": 1}, {"checksum": '"N/A"'}])
def test_a_checksum_counts_for_raw_products_that_have_one(pixels, pds3_product, changes):
    assert decode(pds3_product(pixels, **changes), NAME).pixels.shape == pixels.shape


def test_odd_facts_of_a_pds3_label_are_none(pixels, pds3_product):
    counter = "12\r\nROVER_MOTION_COUNTER = (-1, 2147483648, 0, 0, 0)"
    facts = decode(pds3_product(pixels, sol=counter), NAME).label
    assert (facts.sol, facts.site, facts.drive) == (12, None, None)
    assert decode(pds3_product(pixels, sol=-1), NAME).label.sol is None


def test_odd_facts_of_a_pds4_label_are_none(pixels, pds4_label):
    label = pds4_label(pixels, "SignedMSB2").replace(b"<msn:sol_number>12", b"<msn:sol_number>-12")
    assert decode(pixels.astype(">i2").tobytes(), "x.img", label).label.sol is None


def test_reading_pds4_prints_nothing_and_leaves_the_exception_hook_alone(pixels, pds4_label, capfd):
    hook = sys.excepthook
    decode(pixels.astype(">i2").tobytes(), "x.img", pds4_label(pixels, "SignedMSB2"))
    assert sys.excepthook is hook
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"lines": 25}, TruncatedError),
        ({"offset": 1}, TruncatedError),
        ({"lines": 10**6, "line_samples": 10**6}, OversizedError),
        ({"lines": "many"}, DecodeError),
        ({"offset": -1}, DecodeError),
        ({"sample_type": "ComplexLSB8"}, DecodeError),
        ({"file_name": "../../etc/passwd"}, DecodeError),
        ({"file_name": ""}, DecodeError),
    ],
)
def test_a_pds4_label_that_contradicts_its_file_is_a_decode_error(
    pixels, pds4_label, changes, error
):
    label = pds4_label(pixels, **({"sample_type": "SignedMSB2"} | changes))
    with pytest.raises(error):
        decode(pixels.astype(">i2").tobytes(), "x.img", label)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_pds4_label_cannot_define_text_of_its_own(pixels, pds4_label, encoding):
    label = pds4_label(pixels, "SignedMSB2").decode().partition("?>")[2]
    text = f"<!DOCTYPE x [<!ENTITY a 'b'>]>{label}"
    with pytest.raises(DecodeError, match="document type"):
        decode(pixels.astype(">i2").tobytes(), "x.img", text.encode(encoding))


@pytest.mark.parametrize("label", [b"", b"<html>", b"<Product_Observational/>", b"\xff\xfe<"])
def test_another_text_than_a_pds4_label_is_a_decode_error(label):
    with pytest.raises(DecodeError):
        decode(bytes(8), "x.img", label)


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def ends_in_pixels_or_a_pds_error(data, label=None):
    with contextlib.suppress(PdsError):
        frame = decode(data, "fuzzed", label)
        assert render(frame).shape == frame.pixels.shape


@FUZZ
@given(data=st.binary(max_size=2000), has_label=st.booleans())
def test_random_bytes_end_in_a_pds_error(data, has_label):
    ends_in_pixels_or_a_pds_error((b"PDS_VERSION_ID = PDS3\r\n" if has_label else b"") + data)


@FUZZ
@given(edits=st.lists(st.tuples(st.integers(0, 1150), st.integers(0, 255)), max_size=6))
def test_a_damaged_pds3_label_ends_in_pixels_or_a_pds_error(pixels, pds3_product, edits):
    data = bytearray(pds3_product(pixels))
    for position, byte in edits:
        data[position] = byte
    ends_in_pixels_or_a_pds_error(bytes(data))


KEYS = ("record_bytes", "file_records", "pointer", "lines", "line_samples", "sample_bits", "bands")
VALUES = st.one_of(st.integers(-(2**40), 2**70), st.sampled_from(
    ["", "-", "(1,2)", "((((((", '"N/A"', "1.5", "1e400", "NaN", "{", "<x>", "2#1#", "\0"]
))  # fmt: skip


@FUZZ
@given(changes=st.dictionaries(st.sampled_from((*KEYS, "sol", "checksum", "start_time")), VALUES))
def test_absurd_pds3_label_values_end_in_pixels_or_a_pds_error(pixels, pds3_product, changes):
    ends_in_pixels_or_a_pds_error(pds3_product(pixels, **changes))


@FUZZ
@given(edits=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=4))
def test_a_damaged_pds4_label_ends_in_pixels_or_a_pds_error(pixels, pds4_label, edits):
    label = bytearray(pds4_label(pixels, "SignedMSB2"))
    for position, byte in edits:
        label[position] = byte
    ends_in_pixels_or_a_pds_error(pixels.astype(">i2").tobytes(), bytes(label))


def test_the_rendering_goes_from_the_minimum_to_the_maximum_of_all_pixels():
    rendering = render(frame_of([[0, 100], [2000, 4000]]))
    np.testing.assert_array_equal(rendering, [[0, 6], [128, 255]])
    assert rendering.dtype == np.uint8


def test_an_image_of_one_value_is_black():
    np.testing.assert_array_equal(render(frame_of([[7, 7]])), [[0, 0]])


def test_negative_and_full_range_samples_are_stretched_without_overflow():
    np.testing.assert_array_equal(
        render(frame_of(np.array([[-32768, 0, 32767]], np.int16))), [[0, 128, 255]]
    )


@pytest.mark.parametrize("suffix", [".img", ".xml"])
def test_a_pds4_pair_on_disk_is_decoded_by_either_file(tmp_path, pixels, pds4_label, suffix):
    path = tmp_path / "2p129641989rad0361p2600l2c1.img"
    path.write_bytes(pixels.astype(">i2").tobytes())
    path.with_suffix(".xml").write_bytes(pds4_label(pixels, "SignedMSB2"))
    np.testing.assert_array_equal(read_file(path.with_suffix(suffix)).pixels, pixels)


def test_a_file_that_does_not_exist_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="does not exist"):
        read_file(tmp_path / "x.img")


@pytest.mark.real
def test_every_real_product_is_decoded_as_an_independent_reader_did(real_files: Path):
    expected = json.loads((real_files / "expected.json").read_text())
    for file, facts in expected.items():
        data = (real_files / "products" / file).read_bytes()
        frame = decode(data, file)
        pixel_bytes = frame.pixels.astype(">i2").tobytes()
        label = frame.label
        assert pixel_bytes == data[facts["image_offset"] :][: len(pixel_bytes)]
        assert {
            "shape": frame.pixels.shape,
            "min": frame.pixels.min(),
            "max": frame.pixels.max(),
            "sum": frame.pixels.sum(dtype=np.int64),
            "pixels": hashlib.sha256(pixel_bytes).hexdigest(),
            "product_id": label.product_id,
            "data_set_id": label.data_set_id,
            "sol": label.sol,
            "filter": label.filter_name,
            "mask": label.sample_bit_mask,
        } == {
            "shape": (facts["lines"], facts["line_samples"]),
            "min": facts["dn_min"],
            "max": facts["dn_max"],
            "sum": facts["dn_sum"],
            "pixels": facts["pixels_sha256"],
            "product_id": facts["product_id"],
            "data_set_id": facts["data_set_id"],
            "sol": facts["sol"],
            "filter": facts["filter_name"],
            "mask": facts["sample_bit_mask"],
        }, file


@pytest.mark.real
def test_the_rendering_is_the_archives_own_browse_image(real_files: Path):
    name = "2p295043688fflb1dnp2380l2m1.img"
    browse = np.asarray(Image.open(real_files / "browse" / f"{name}.jpg"), np.int16)
    rendering = render(read_file(real_files / "products" / name))
    assert np.abs(rendering - browse).mean() <= 2.5


@pytest.mark.real
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(edits=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 255)), max_size=9),
       end=st.none() | st.integers(0, 42_496))  # fmt: skip
def test_a_damaged_real_file_ends_in_pixels_or_a_pds_error(real_files: Path, edits, end):
    data = bytearray((real_files / "products" / "2p129641989eth0361p2600r8m1.img").read_bytes())
    for position, byte in edits:
        data[position] = byte
    ends_in_pixels_or_a_pds_error(bytes(data[:end]))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b"Last Index Fastest", b"First Index Fastest", "axis_index_order"),
        (b'unit="byte"', b'unit="record"', "offset in 'record'"),
        (b"<Mission_Area>", b"<Mission_Area><vertical_display_direction>Bottom to Top"
                            b"</vertical_display_direction>", "vertical_display_direction"),
        (b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>",
         "document type"),
        (b"<Mission_Area>", b"<Mission_Area>" + b"<a>" * 99 + b"</a>" * 99, "inside each other"),
        (b"<file_name>", b"<md5_checksum>00</md5_checksum><file_name>", "MD5"),
        (b"pds4/pds/v1", b"other/v1", "not in the namespace of PDS4"),
        (b"</data_type>", b"</data_type><scaling_factor>0</scaling_factor>", "scaling_factor '0'"),
        (b"</data_type>", b"</data_type><value_offset>x</value_offset>", "value_offset 'x'"),
        (b'unit="byte">', b'unit="byte">-', "no usable offset"),
        (b"<elements>", b"<elements>1e", "no usable elements"),
    ],
)  # fmt: skip
def test_what_a_pds4_label_says_of_order_and_content_is_not_ignored(
    pixels, pds4_label, old, new, complaint
):
    label = pds4_label(pixels, "SignedMSB2")
    assert old in label
    with pytest.raises(DecodeError, match=complaint):
        decode(pixels.astype(">i2").tobytes(), "x.img", label.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<?xml", b"\xef\xbb\xbf<?xml"),
        (b'<?xml version="1.0" encoding="UTF-8"?>', b""),
        (b"\n", b"\r\n"),
        (b"<elements>", b"<!-- lines --><elements>\n "),
        (b"SignedMSB2<", b"<![CDATA[SignedMSB2]]> <"),
        (b"SignedMSB2<", b"Signed&#77;SB2<"),
        (b"<Mission_Area>", b"<Mission_Area><a xmlns='urn:x'><axis_name>&amp;</axis_name></a>"),
        (b"<file_name>", b"<md5_checksum>none</md5_checksum><file_name>"),
        (b"<file_name>", b"<md5_checksum>N/A</md5_checksum><file_name>"),
    ],
    ids=["BOM", "no declaration", "CRLF", "comment and blanks", "CDATA", "character reference",
         "other namespace", "no checksum", "unknown checksum"],
)  # fmt: skip
def test_whatever_a_pds4_label_may_legally_look_like_the_pixels_are_the_same(
    pixels, pds4_label, old, new
):
    label = pds4_label(pixels, "SignedMSB2")
    assert old in label
    frame = decode(pixels.astype(">i2").tobytes(), "x.img", label.replace(old, new))
    np.testing.assert_array_equal(frame.pixels, pixels)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<File>", "<Header><file_name>{}</file_name></Header><File>"),
        ("<File>", "<a xmlns='urn:x'><p:file_name xmlns:p='{pds}'>{}</p:file_name></a><File>"),
        ("<File>", "<File><a><file_name>{}</file_name></a>"),
        ("</File_Area_Observational>",
         "</File_Area_Observational><File_Area_Browse><File><file_name>{}</file_name></File>"
         "<Array_2D_Image><offset unit='byte'>0</offset></Array_2D_Image></File_Area_Browse>"),
    ],
    ids=["in another structure", "in another namespace", "deep in the file", "in another area"],
)  # fmt: skip
@pytest.mark.parametrize("is_absolute", [True, False])
def test_no_label_leads_to_a_file_outside(tmp_path, pixels, pds4_label, old, new, is_absolute):
    secret = tmp_path / "secret"
    secret.write_bytes((4095 - pixels).astype(">i2").tobytes())
    place = str(secret) if is_absolute else f"../../../../../../..{secret}"
    named = new.format(place, pds="http://pds.nasa.gov/pds4/pds/v1").encode()
    label = pds4_label(pixels, "SignedMSB2")
    assert old.encode() in label
    data = pixels.astype(">i2").tobytes()
    try:
        frame = decode(data, "x.img", label.replace(old.encode(), named, 1))
    except DecodeError:
        return
    np.testing.assert_array_equal(frame.pixels, pixels)


@pytest.mark.parametrize("text", ["1" * 1_000_000 + "x", "." + "1" * 1_000_000 + "e"])
def test_a_long_text_in_place_of_a_number_is_read_in_one_pass(pixels, pds4_label, text):
    constants = f"<Special_Constants><a>{text}</a>".encode()
    label = pds4_label(pixels, "SignedMSB2").replace(b"<Special_Constants>", constants)
    frame = decode(pixels.astype(">i2").tobytes(), "x.img", label)
    np.testing.assert_array_equal(frame.pixels, pixels)


def test_a_pds4_image_of_one_value_is_blank(pds4_label):
    pixels = np.full((4, 4), 9)
    with pytest.raises(BlankImageError):
        decode(pixels.astype(">i2").tobytes(), "x.img", pds4_label(pixels, "SignedMSB2"))


def test_a_pds4_label_may_say_how_much_is_missing(pixels, pds4_label):
    counts = b"<expected_packets>8</expected_packets><received_packets>6</received_packets>"
    label = pds4_label(pixels, "SignedMSB2").replace(b"<Mission_Area>", b"<Mission_Area>" + counts)
    assert decode(pixels.astype(">i2").tobytes(), "x.img", label).missing_share == 0.25


def test_a_defect_in_a_decoder_is_a_decode_error(pixels, pds3_product, monkeypatch):
    def defect(*_):
        raise RuntimeError

    monkeypatch.setattr("mernet.pds.pds3.decode", defect)
    with pytest.raises(DecodeError, match="RuntimeError"):
        decode(pds3_product(pixels), NAME)


ODD_NAME = "a\x1b[31m\n\u202e\t"


@pytest.mark.parametrize("suffix", [".img", ".xml", ".lblx"])
@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"",
        b"<a/>",
        b"<a",
        b"PDS_VERSION_ID = PDS3\n^IMAGE = '\x1b' <\x1b>\nOBJECT = IMAGE\nEND_OBJECT\nEND\n",
        b"PDS_VERSION_ID = PDS3\nOBJECT = IMAGE\nLINES = '\x1b'\nEND_OBJECT\nEND\n",
    ],
)
def test_no_message_about_a_file_has_a_character_that_cannot_be_printed(tmp_path, suffix, data):
    path = tmp_path / f"{ODD_NAME}{suffix}"
    path.write_bytes(data)
    with pytest.raises(PdsError) as of_file:
        read_file(path)
    with pytest.raises(PdsError) as of_bytes:
        decode(data, path.name, data if suffix == ".xml" else None)
    for message in (str(of_file.value), str(of_bytes.value)):
        assert message.isprintable()
        assert r"a\x1b[31m\n\u202e\t" in message
