"""Augmentation: pictures turned and slanted, nothing at their borders lost."""

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from pydantic import ValidationError

from mernet.model.training.finetuning.augmentation import (
    draw_homographies,
    variant_homographies,
    warp,
)
from mernet.model.training.finetuning.recipes import AugmentationRanges

WIDEST = AugmentationRanges(rotation=180, shear=1, skew=0.49)
STILL = AugmentationRanges(rotation=0, shear=0, skew=0)


class Prescribed(np.random.Generator):
    """Draws what it is given: for each map how much of the ranges is used, from -1 to 1."""

    def __init__(self, draws: ArrayLike) -> None:
        super().__init__(np.random.PCG64(0))
        self.draws = np.asarray(draws, dtype=float)

    def uniform(self, low: float, high: float, size: tuple[int, int]) -> np.ndarray:
        assert self.draws.shape == size
        return self.draws


def mapped(homographies: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (M, 2) under each map: (N, M, 2)."""
    ends = np.column_stack([points, np.ones(len(points))]) @ homographies.transpose(0, 2, 1)
    return ends[..., :2] / ends[..., 2:]


def border(size: int, edge: float) -> np.ndarray:
    """Points (4 * size, 2) around a frame: `size` pixel centres a side, at +-edge."""
    along, across = (2 * np.arange(size) + 1) / size - 1, np.full(size, edge)
    sides = [(along, -across), (along, across), (-across, along), (across, along)]
    return np.concatenate([np.column_stack(side) for side in sides])


@pytest.mark.parametrize("ranges", [AugmentationRanges(), WIDEST])
def test_no_point_of_the_outermost_edge_leaves_the_frame(ranges: AugmentationRanges):
    homographies = draw_homographies(np.random.default_rng(0), 500, ranges)
    assert np.abs(mapped(homographies, border(64, 1.0))).max() <= 1 + 1e-9


def test_a_bright_border_of_one_pixel_is_found_again_all_around_at_all_extremes():
    size = 64
    picture = torch.zeros(1, 1, size, size)
    picture[..., 0, :] = picture[..., -1, :] = picture[..., :, 0] = picture[..., :, -1] = 1
    extremes = np.array(list(product([-1.0, -0.5, 0.0, 0.5, 1.0], repeat=4)))
    homographies = draw_homographies(Prescribed(extremes), len(extremes), AugmentationRanges())
    warped = warp(picture.expand(len(extremes), -1, -1, -1), homographies)
    places = torch.from_numpy(mapped(homographies, border(size, 1 - 1 / size))).float()
    found = torch.nn.functional.grid_sample(warped, places[:, None], align_corners=False)
    assert found.min() > 0
    assert found.mean() > 0.5


def test_a_warped_picture_touches_two_opposite_edges():
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    ends = mapped(draw_homographies(np.random.default_rng(2), 200, AugmentationRanges()), corners)
    spans = ends.max(axis=1) - ends.min(axis=1)
    assert spans.max(axis=1) == pytest.approx(np.full(200, 2.0))


def test_a_quarter_turn_moves_the_corners_around():
    quarter = draw_homographies(Prescribed([[1, 0, 0, 0]]), 1, AugmentationRanges(rotation=90))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    assert mapped(quarter, corners)[0] == pytest.approx(np.roll(corners, -1, axis=0))
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    torch.testing.assert_close(warp(picture, quarter), torch.rot90(picture, -1, (2, 3)))


def test_the_identity_changes_no_bit():
    picture = torch.rand(2, 1, 37, 53)
    assert torch.equal(warp(picture, np.tile(np.eye(3), (2, 1, 1))), picture)


def test_ranges_of_zero_draw_the_identity():
    drawn = draw_homographies(np.random.default_rng(3), 5, STILL)
    assert np.array_equal(drawn, np.tile(np.eye(3), (5, 1, 1)))


def test_what_the_original_does_not_reach_is_black():
    turned = draw_homographies(np.random.default_rng(4), 50, AugmentationRanges())
    warped = warp(torch.ones(50, 1, 32, 32), turned)
    assert warped.amin(dim=(1, 2, 3)).max() == 0
    assert warped[:, :, 14:18, 14:18].min() > 0.99


def test_variant_0_is_the_original_and_the_others_differ():
    samples = np.array([[4, 0], [4, 1], [4, 2], [5, 1]])
    homographies = variant_homographies(9, samples, AugmentationRanges())
    assert np.array_equal(homographies[0], np.eye(3))
    assert len(np.unique(homographies.round(12), axis=0)) == 4


def test_a_variant_depends_on_seed_image_and_number_alone():
    samples = np.array([[4, 1], [5, 1], [4, 7]])
    alone = variant_homographies(9, samples[2:], AugmentationRanges())
    assert np.array_equal(variant_homographies(9, samples, AugmentationRanges())[2:], alone)
    assert not np.array_equal(variant_homographies(8, samples[2:], AugmentationRanges()), alone)


@pytest.mark.parametrize("wrong", [{"skew": 0.5}, {"rotation": -1}, {"shear": float("nan")}])
def test_ranges_beyond_sense_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValidationError):
        AugmentationRanges(**wrong)
