"""Single label values."""

from datetime import UTC, datetime

import pytest

from mernet.pds.label import counter_or_none, text_or_none, time_or_none, whole_or_none


@pytest.mark.parametrize("value", [None, "", "  ", "UNK", "N/A", "NULL", "unk"])
def test_what_a_label_does_not_know_is_none(value):
    assert (text_or_none(value), whole_or_none(value), time_or_none(value)) == (None, None, None)


@pytest.mark.parametrize(
    "text", ["2004-01-25T07:18:28Z", "2004-01-25T07:18:28", "2004-01-25T07:18:28.000"]
)
def test_a_time_is_utc_with_and_without_z(text):
    assert time_or_none(text) == datetime(2004, 1, 25, 7, 18, 28, tzinfo=UTC)


@pytest.mark.parametrize("text", ["TBD", "2004-13-45T00:00:00", "0001-01-01T00:00:00+10:00"])
def test_another_text_than_a_time_is_none(text):
    assert time_or_none(text) is None


def test_a_whole_number_may_be_padded_text():
    assert (whole_or_none("1024  "), whole_or_none(7), whole_or_none("1.5")) == (1024, 7, None)


@pytest.mark.parametrize("text", ["13:56:50\0\0", "13:\x1b56:50\r\n", "\ud80013:56:50"])
def test_a_text_has_no_characters_that_cannot_be_printed(text):
    assert text_or_none(text) == "13:56:50"


def test_a_number_or_time_with_a_control_character_in_it_is_none():
    assert whole_or_none("1\x002") is None
    assert time_or_none("2004-01-25\0") is None


@pytest.mark.parametrize(
    ("value", "counter"),
    [
        ("0", 0),
        (2**31 - 1, 2**31 - 1),
        (2**31, None),
        (-1, None),
        ("9" * 5000, None),
        ("UNK", None),
    ],
)
def test_a_counter_is_whole_and_fits_into_31_bits(value, counter):
    assert counter_or_none(value) == counter
