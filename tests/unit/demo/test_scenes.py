"""Scenes: what they show, how often, and that the same one is always the same picture."""

import numpy as np
import pytest

from mernet.demo.checkpoint import training_scenes
from mernet.demo.plan import plan_archive
from mernet.demo.scenes import CONTENTS, SHOWN_CLASSES, View, draw, sample_scene, sample_scenes
from mernet.model.classes import CODES

RARE = ("ast", "pct", "rah", "sot", "art")


def test_scenes_can_show_nineteen_of_the_25_classes() -> None:
    assert len(SHOWN_CLASSES) == 19
    assert set(SHOWN_CLASSES) < set(CODES)


def test_the_shares_of_the_views_add_up_to_one() -> None:
    assert sum(content.share for content in CONTENTS.values()) == pytest.approx(1)


def test_a_scene_shows_what_its_view_always_shows_and_nothing_its_view_cannot() -> None:
    for scene in sample_scenes("test", 0, 300):
        content = CONTENTS[scene.view]
        assert scene.labels >= content.always
        assert scene.labels <= content.always | set(content.chances)


def test_layers_need_outcrop_and_spherules_are_not_strewn_with_clasts() -> None:
    scenes = sample_scenes("test", 1, 300)
    assert all("roc" in scene.labels for scene in scenes if "rlf" in scene.labels)
    assert not any({"sph", "cla"} <= scene.labels for scene in scenes)
    assert not any({"sph", "dur"} <= scene.labels for scene in scenes)


def test_a_vista_without_sky_has_something_distant_instead() -> None:
    vistas = [scene for scene in sample_scenes("test", 2, 300) if scene.view is View.VISTA]
    assert any("sky" not in scene.labels for scene in vistas)
    assert all(scene.labels & {"sky", "div"} for scene in vistas)


def test_the_default_archive_has_at_least_six_of_each_class_and_soil_nearly_everywhere() -> None:
    scenes = [shot.scene for shot in plan_archive(seed=1, products=240)]
    counts = {code: sum(code in scene.labels for scene in scenes) for code in SHOWN_CLASSES}
    assert min(counts.values()) >= 6
    assert all(counts[code] < 24 for code in RARE)
    assert counts["soi"] > 180


def test_no_scene_that_is_learned_from_is_in_the_archive() -> None:
    for seed in (0, 1, 2):
        learned = {scene.seed for scene in training_scenes(seed)}
        shown = {shot.scene.seed for shot in plan_archive(seed, products=400)}
        assert len(learned) == len(training_scenes(seed))
        assert not learned & shown


def test_scenes_for_the_chain_and_for_its_calibration_differ() -> None:
    assert not set(sample_scenes("chain", 1, 50)) & set(sample_scenes("calibration", 1, 50))


@pytest.mark.parametrize("view", list(View))
def test_the_same_scene_is_always_the_same_picture_of_full_range(view: View) -> None:
    scene = sample_scene(np.random.default_rng(5), view)
    picture = draw(scene, 128)
    assert picture.shape == (128, 128)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() < 0.3 < 0.6 < picture.max() <= 1
    np.testing.assert_array_equal(picture, draw(scene, 128))


def test_only_a_scene_with_artifacts_has_pixels_that_are_exactly_zero() -> None:
    scenes = sample_scenes("test", 3, 300)
    damaged = [scene for scene in scenes if "art" in scene.labels]
    intact = [scene for scene in scenes if "art" not in scene.labels][:10]
    assert damaged
    assert all((draw(scene, 64) == 0).mean() > 0.02 for scene in damaged)
    assert all((draw(scene, 64) > 0).all() for scene in intact)


def test_a_view_of_the_sun_or_of_stars_is_mostly_dark_and_a_vista_has_its_light_above() -> None:
    night = draw(sample_scene(np.random.default_rng(0), View.NIGHT), 128)
    assert np.median(night) < 0.1
    vistas = [scene for scene in sample_scenes("test", 4, 40) if scene.view is View.VISTA]
    for scene in vistas:
        picture = draw(scene, 128)
        if scene.labels & {"art", "rod"} or "sky" not in scene.labels:
            continue
        assert picture[:10].mean() > picture[-40:].mean()
