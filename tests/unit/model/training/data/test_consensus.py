"""The labels that volunteers agree on, and how far they agree."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mernet.model.classes import CODES
from mernet.model.errors import DataSetError
from mernet.model.training.data.consensus import compute_consensus, write_label_file
from mernet.model.training.data.loading import load_data_set
from mernet.model.training.data.zooniverse import VolunteerClassification


def votes_for_sky(*chosen_of_seen: tuple[int, int]) -> list[VolunteerClassification]:
    """Classifications of images: for each, (volunteers who chose sky, volunteers who saw it)."""
    return [
        VolunteerClassification(
            image=f"{place}.jpg",
            volunteer=str(volunteer),
            order=(datetime(2018, 3, 1, tzinfo=UTC), volunteer),
            choices=frozenset({"sky"} if volunteer < chosen else ()),
        )
        for place, (chosen, seen) in enumerate(chosen_of_seen)
        for volunteer in range(seen)
    ]


def kappa_of_sky(*chosen_of_seen: tuple[int, int]) -> float:
    result = compute_consensus(votes_for_sky(*chosen_of_seen), retirement=1)
    return float(result.kappa()[CODES.index("sky")])


def test_kappa_is_one_if_all_agree_and_undefined_without_a_choice():
    assert kappa_of_sky((5, 5), (0, 5)) == pytest.approx(1)
    assert np.isnan(kappa_of_sky((0, 5), (0, 5)))
    assert np.isnan(kappa_of_sky((1, 1), (0, 1)))


def test_kappa_is_that_of_fleiss_formula():
    # Agreement of the images 1, 1/3, 1/3, chosen by 5 of 9: (5/9 - 41/81) / (1 - 41/81).
    assert kappa_of_sky((3, 3), (1, 3), (1, 3)) == pytest.approx(0.1)
    # Agreement 1, 1/3, 1, chosen by 4 of 9: (7/9 - 41/81) / (1 - 41/81).
    assert kappa_of_sky((3, 3), (1, 3), (0, 3)) == pytest.approx(0.55)


def test_kappa_is_near_zero_if_volunteers_guess():
    guesses = np.random.default_rng(0).binomial(10, 0.4, size=400)
    assert kappa_of_sky(*((int(chosen), 10) for chosen in guesses)) == pytest.approx(0, abs=0.02)


def test_the_image_with_most_votes_in_the_minority_is_most_disputed():
    result = compute_consensus(votes_for_sky((5, 5), (2, 5), (1, 5)), retirement=1)
    assert result.disputed() == [
        ("1.jpg", pytest.approx(0.4)),
        ("2.jpg", pytest.approx(0.2)),
        ("0.jpg", 0),
    ]


@pytest.mark.parametrize("options", [{"retirement": 0}, {"threshold": 0}, {"threshold": 1.1}])
def test_options_out_of_range_are_refused(options: dict[str, Any]):
    with pytest.raises(DataSetError, match="at least 1"):
        compute_consensus(votes_for_sky((1, 1)), **options)


def test_the_label_file_of_a_consensus_is_loaded_as_a_data_set(tmp_path: Path):
    result = compute_consensus(votes_for_sky((2, 2), (0, 2)), retirement=2)
    folder = tmp_path / "labelled"
    write_label_file(folder / "labels.csv", result)
    for name in result.images:
        Image.new("L", (2, 2)).save(folder / name)
    data = load_data_set(folder)
    assert data.classes == CODES
    assert data.names == result.images
    assert data.labels.tolist() == result.labels.tolist()
    assert data.labels.sum() == 1
