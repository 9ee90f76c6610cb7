"""From a drawn picture to a product's pixels."""

import numpy as np
import pytest

from mernet.demo.camera import SHAPES, Cut, compand, expose, photograph, rendering_of
from mernet.demo.pds3_volume import product_bytes
from mernet.demo.plan import Shot
from mernet.demo.scenes import sample_scenes
from mernet.pds.image import decode
from mernet.pds.rendering import render


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rows = np.linspace(0.01, 1, 512, dtype=np.float32)
    picture = np.tile(rows[:, None], (1, 512))
    picture[100:150, 60:200] = 0
    return picture


@pytest.mark.parametrize("cut", list(Cut))
def test_every_cut_has_its_shape_and_fits_12_bits(picture: np.ndarray, cut: Cut) -> None:
    pixels = expose(picture, cut, seed=1)
    assert pixels.shape == SHAPES[cut]
    assert pixels.dtype == np.uint16
    assert pixels.max() <= 4095


@pytest.mark.parametrize("cut", [Cut.FULL, Cut.HALF])
def test_lost_packets_stay_zero_and_nothing_else_is(picture: np.ndarray, cut: Cut) -> None:
    pixels = expose(picture, cut, seed=1)
    lost = pixels == 0
    assert lost.mean() == pytest.approx((picture == 0).mean())


def test_an_enlarged_picture_is_the_picture_with_fresh_grain(picture: np.ndarray) -> None:
    large = expose(picture, Cut.FULL, seed=1).astype(float)
    blocks = large.reshape(512, 2, 512, 2)
    small = expose(picture, Cut.HALF, seed=1).astype(float)
    assert np.corrcoef(blocks.mean(axis=(1, 3)).ravel(), small.ravel())[0, 1] > 0.99
    assert np.median(blocks.std(axis=(1, 3))[picture > 0.1]) > 10


def test_companding_keeps_the_order_in_8_bits() -> None:
    packed = compand(np.arange(4096, dtype=np.uint16))
    assert packed[0] == 0
    assert packed[-1] == 255
    assert (np.diff(packed.astype(int)) >= 0).all()


def test_a_photograph_depends_on_the_scene_alone() -> None:
    first, second = sample_scenes("test", 0, 2)
    np.testing.assert_array_equal(photograph(first, 64), photograph(first, 64))
    assert (photograph(first, 64) != photograph(second, 64)).any()


def test_what_is_learned_from_is_stretched_as_the_service_renders(shots: list[Shot]) -> None:
    edr = shots[1].takes[0].edr
    pixels = photograph(shots[1].scene, edr.lines)
    frame = decode(product_bytes(edr, pixels), edr.file_name)
    np.testing.assert_array_equal(rendering_of(shots[1].scene, edr.lines), render(frame))
