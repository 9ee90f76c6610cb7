"""Product names."""

import contextlib
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mernet.pds.errors import BadNameError
from mernet.pds.product import ProductName, Rover

NAME = "2P295043688FFLB1DNP2380L2M1"


def test_a_name_is_taken_apart():
    assert ProductName.parse(NAME) == ProductName(
        rover=Rover.SPIRIT,
        camera="P",
        clock=295043688,
        product_type="FFL",
        site=137,
        drive=231,
        sequence="P2380",
        eye="L",
        filter=2,
        producer="M",
        version="1",
    )


@pytest.mark.parametrize("text", [NAME, NAME.lower(), f"{NAME.lower()}.img", f"{NAME}.IMG.jpg"])
def test_case_and_extension_do_not_matter(text):
    assert str(ProductName.parse(text)) == NAME


COUNTERS_OF_REAL_LABELS = {"B1": 137, "UF": 835, "CM": 194, "Y9": 973, "76": 76}
COUNTERS_AT_THE_EDGES = {"00": 0, "99": 99, "A0": 100, "ZZ": 1035, "0A": 1036, "9Z": 1295}


@pytest.mark.parametrize(
    ("pair", "number"), (COUNTERS_OF_REAL_LABELS | COUNTERS_AT_THE_EDGES).items()
)
def test_site_and_drive_count_on_in_letters(pair, number):
    name = ProductName.parse(f"1P128287181EFF{pair}{pair}P2303L2M1")
    assert (name.site, name.drive) == (number, number)


@pytest.mark.parametrize("text", ["1P128287181EFF##00P2303L2M1", "1p128287181eff__00p2303l2m1.img"])
def test_a_counter_out_of_range_is_none_and_comes_back_in_both_forms(text):
    name = ProductName.parse(text)
    assert (name.site, name.drive) == (None, 0)
    assert str(name) == "1P128287181EFF##00P2303L2M1"
    assert name.file_stem == "1p128287181eff__00p2303l2m1"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("5P295043688FFLB1DNP2380L2M1", "character 1 is '5'"),
        ("2X295043688FFLB1DNP2380L2M1", "character 2 is 'X'"),
        ("2P29504368XFFLB1DNP2380L2M1", "character 11 is 'X'"),
        ("2P295043688FFL#1DNP2380L2M1", "characters 15 and 16 are '#1'"),
        ("2P295043688FFLB1DN12380L2M1", "character 19 is '1'"),
        ("2P295043688FFLB1DNP2380L9M1", "character 25 is '9'"),
        ("2P295043688FFLB1DNP2380L2M", "26 characters instead of 27"),
        ("2P295043688FFLB1DNP2380L2M11", "28 characters instead of 27"),
        ("data/2P295043688FFLB1DNP2380L2M1", "character 1 is 'D'"),
        ("", "0 characters instead of 27"),
    ],
)
def test_a_bad_name_is_refused_saying_which_character_is_wrong(text, complaint):
    with pytest.raises(BadNameError, match=complaint):
        ProductName.parse(text)


@given(st.from_regex(r"[12][PNFRME][0-9]{9}[A-Z]{3}([0-9A-Z]{2}|##){2}[A-Z][0-9]{4}[LR][0-8]M[0-9A-Z]",
                     fullmatch=True))  # fmt: skip
def test_a_name_comes_back_as_it_was(text):
    assert str(ProductName.parse(text)) == text


@given(st.text(max_size=30))
def test_any_other_text_is_a_bad_name_or_a_name_of_27_characters(text):
    with contextlib.suppress(BadNameError):
        assert len(str(ProductName.parse(text))) == 27


def test_versions_go_from_digits_to_letters():
    versions = [ProductName.parse(NAME[:-1] + version) for version in "19AZ"]
    assert all(high.supersedes(low) for low, high in pairwise(versions))
    assert not versions[0].supersedes(versions[0])


def test_a_version_of_another_image_supersedes_nothing():
    assert not ProductName.parse(f"1{NAME[1:-1]}9").supersedes(ProductName.parse(NAME))


@pytest.mark.real
def test_names_of_real_files_are_their_product_ids(real_files: Path):
    expected = json.loads((real_files / "expected.json").read_text())
    assert {file: str(ProductName.parse(file)) for file in expected} == {
        file: facts["product_id"] for file, facts in expected.items()
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("9P129916709EFF0685P2306L2M1", "character 1 is '9', but a digit from 1 to 4 belongs"),
        ("2P12991670XEFF0685P2306L2M1", "character 11 is 'X', but a digit belongs there"),
        ("2P129916709E-F0685P2306L2M1", "a letter from A to Z or a digit belongs there"),
        ("2P129916709EFF0685P2306X2M1", "one of L, R, M, N or B belongs there"),
        ("2P129916709EFF0685P2306L9M1", "a digit from 0 to 8 belongs there"),
    ],
)
def test_a_wrong_character_is_told_with_what_belongs_there_in_words(name, said):
    with pytest.raises(BadNameError) as refused:
        ProductName.parse(name)
    assert said in str(refused.value)
    assert "[" not in str(refused.value)
