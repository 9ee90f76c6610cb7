"""Samples of every type are decoded as the label describes them."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mernet.pds.errors import DecodeError
from mernet.pds.image import decode
from mernet.pds.rendering import render

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
NAME = "1p128287181eff0000p2303l2m1.img"
PDS3_SAMPLE_TYPES = [
    ("MSB_INTEGER", ">i1"), ("MSB_INTEGER", ">i2"), ("MSB_INTEGER", ">i4"),
    ("LSB_INTEGER", "<i1"), ("LSB_INTEGER", "<i2"), ("LSB_INTEGER", "<i4"),
    ("MSB_UNSIGNED_INTEGER", ">u1"), ("MSB_UNSIGNED_INTEGER", ">u2"),
    ("MSB_UNSIGNED_INTEGER", ">u4"), ("LSB_UNSIGNED_INTEGER", "<u1"),
    ("LSB_UNSIGNED_INTEGER", "<u2"), ("LSB_UNSIGNED_INTEGER", "<u4"),
    ("UNSIGNED_INTEGER", "u1"), ("lsb_integer", "<i2"), ('"LSB_INTEGER"', "<i4"),
    ("INTEGER", ">i2"), ("SUN_INTEGER", ">i4"), ("MAC_INTEGER", ">i2"), ("PC_INTEGER", "<i2"),
    ("VAX_INTEGER", "<i4"), ("UNSIGNED_INTEGER", ">u2"), ("SUN_UNSIGNED_INTEGER", ">u2"),
    ("MAC_UNSIGNED_INTEGER", ">u4"), ("PC_UNSIGNED_INTEGER", "<u2"),
    ("VAX_UNSIGNED_INTEGER", "<u4"), ("'LSB_INTEGER'", "<i2"),
]  # fmt: skip
PDS3_REALS = [
    ("IEEE_REAL", ">f4"), ("PC_REAL", "<f4"), ("IEEE_REAL", ">f8"), ("PC_REAL", "<f8"),
    ("REAL", ">f4"), ("FLOAT", ">f8"), ("SUN_REAL", ">f4"), ("MAC_REAL", ">f8"),
]  # fmt: skip


@pytest.mark.parametrize(("sample_type", "dtype"), PDS3_SAMPLE_TYPES)
def test_pds3_integers_of_any_size_sign_and_byte_order_are_those_in_the_file(
    pds3_product, sample_type, dtype
):
    limits = np.iinfo(dtype)
    signalling_nan = 0x7F800001 & limits.max  # as a real of 32 bits
    pixels = np.array([[limits.min, 0, 1], [2, signalling_nan, limits.max]], dtype)
    frame = decode(pds3_product(pixels, dtype, sample_type=sample_type), NAME)
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.pixels.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(("sample_type", "dtype"), PDS3_REALS)
def test_pds3_reals_of_either_size_and_byte_order_are_those_in_the_file(
    pds3_product, sample_type, dtype
):
    pixels = np.array([[-1.5, 0.1], [3.0e38, 1.0e-40]], dtype)
    frame = decode(pds3_product(pixels, dtype, sample_type=sample_type), NAME)
    np.testing.assert_array_equal(frame.pixels, pixels.astype(np.float32))
    assert frame.pixels.dtype == np.float32


@pytest.mark.parametrize(
    ("sample_type", "sample_bits"),
    [
        ("IEEE_COMPLEX", 64), ("IEEE_REAL", 16), ("VAX_REAL", 32), ("MSB_INTEGER", 64),
        ("N/A", 16), ("(LSB_INTEGER)", 16), ("BIT_STRING", 16), ("CHARACTER", 8), ("VAXG_REAL", 64),
    ],
)  # fmt: skip
def test_pds3_samples_that_would_be_misread_are_refused(
    pixels, pds3_product, sample_type, sample_bits
):
    data = pds3_product(pixels, f"i{sample_bits // 8}", sample_type=sample_type)
    with pytest.raises(DecodeError, match=f"samples of {sample_bits} bits"):
        decode(data, NAME)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.0e300])
def test_a_pds3_image_without_a_finite_pixel_is_undecodable(pds3_product, value):
    data = pds3_product(np.full((2, 2), value), ">f8", sample_type="IEEE_REAL", checksum=0)
    with pytest.raises(DecodeError, match="no pixel with a finite value"):
        decode(data, NAME)


def test_reals_that_are_no_measurement_are_black(pds3_product):
    pixels = np.array([[np.nan, -1.0e300], [1.0, 3.0]])
    data = pds3_product(pixels, "<f8", sample_type="PC_REAL", checksum=0)
    np.testing.assert_array_equal(render(decode(data, NAME)), [[0, 0], [0, 255]])


PDS4_SAMPLE_TYPES = {
    "UnsignedByte": "u1", "SignedByte": "i1",
    "UnsignedMSB2": ">u2", "UnsignedLSB2": "<u2", "SignedMSB2": ">i2", "SignedLSB2": "<i2",
    "UnsignedMSB4": ">u4", "UnsignedLSB4": "<u4", "SignedMSB4": ">i4", "SignedLSB4": "<i4",
    "IEEE754MSBSingle": ">f4", "IEEE754LSBSingle": "<f4",
    "IEEE754MSBDouble": ">f8", "IEEE754LSBDouble": "<f8",
}  # fmt: skip


@pytest.mark.parametrize(("sample_type", "dtype"), PDS4_SAMPLE_TYPES.items())
def test_a_pds4_product_of_any_number_type_gives_its_pixels(pds4_label, sample_type, dtype):
    pixels = (np.arange(24).reshape(4, 6) - (12 if dtype[-2] in "if" else 0)).astype(dtype)
    frame = decode(pixels.tobytes(), "x.img", pds4_label(pixels, sample_type))
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.pixels.dtype.isnative
    assert (frame.label.sol, frame.label.local_solar_time) == (12, "13:56:50")


def test_special_constants_of_pds4_reals_are_not_measurements(pds4_label):
    pixels = np.array([[1.0, 2.0], [-1.0e32, 3.0]], ">f4")
    frame = decode(pixels.tobytes(), "x.img", pds4_label(pixels, "IEEE754MSBSingle"))
    np.testing.assert_array_equal(render(frame), [[0, 128], [0, 255]])


def test_a_pds4_image_of_special_constants_alone_is_undecodable(pds4_label):
    pixels = np.full((2, 2), -1.0e32, ">f4")
    with pytest.raises(DecodeError, match="no pixel with a finite value"):
        decode(pixels.tobytes(), "x.img", pds4_label(pixels, "IEEE754MSBSingle"))


@pytest.mark.parametrize("factor", ["1e308", "nan"])
def test_pds4_pixels_that_are_scaled_beyond_all_reals_are_undecodable(pds4_label, factor):
    pixels = np.array([[7, 8]], ">i2")
    label = pds4_label(pixels, "SignedMSB2").replace(
        b"</data_type>", f"</data_type><scaling_factor>{factor}</scaling_factor>".encode()
    )
    with pytest.raises(DecodeError, match="no pixel with a finite value"):
        decode(pixels.tobytes(), "x.img", label)


FUZZ = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PDS3_FUZZED = [*PDS3_SAMPLE_TYPES, *PDS3_REALS]
BITS = st.binary(min_size=48, max_size=48)


def ends_in_a_rendering_or_a_decode_error(data, label=None):
    with contextlib.suppress(DecodeError):
        frame = decode(data, NAME, label)
        assert render(frame).shape == frame.pixels.shape


@pytest.mark.parametrize(("sample_type", "dtype"), PDS3_FUZZED)
@FUZZ
@given(bits=BITS)
def test_any_bits_of_a_pds3_sample_type_end_in_a_rendering_or_a_decode_error(
    pds3_product, sample_type, dtype, bits
):
    sample_bits = np.dtype(dtype).itemsize * 8
    product = pds3_product(
        np.frombuffer(bits, "u1").reshape(2, -1), "u1", data_set="ILUT",
        sample_type=sample_type, sample_bits=sample_bits, line_samples=24 * 8 // sample_bits,
    )  # fmt: skip
    ends_in_a_rendering_or_a_decode_error(product)


@pytest.mark.parametrize("sample_type", ["SignedLSB4", "IEEE754MSBSingle", "IEEE754LSBDouble"])
@FUZZ
@given(bits=BITS)
def test_any_bits_of_a_pds4_sample_type_end_in_a_rendering_or_a_decode_error(
    pds4_label, sample_type, bits
):
    samples = 24 // np.dtype(PDS4_SAMPLE_TYPES[sample_type]).itemsize
    ends_in_a_rendering_or_a_decode_error(bits, pds4_label(np.empty((2, samples)), sample_type))
