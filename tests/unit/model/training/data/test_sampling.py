"""Drawing images to label: from every stratum, by seed alone."""

import pytest

from mernet.model.errors import DataSetError
from mernet.model.training.data.sampling import draw_sample

STRATA = {f"{site}-{number}": site for site in range(10) for number in range(site * 3 + 1)}


def test_every_stratum_gives_its_share_rounded_up():
    drawn = draw_sample(STRATA, 0.2, seed=1)
    for site in range(10):
        size = sum(each == site for each in STRATA.values())
        assert sum(STRATA[name] == site for name in drawn) == -(-size // 5)


def test_a_share_that_is_whole_is_not_rounded_up_by_floating_point():
    assert len(draw_sample(dict.fromkeys(map(str, range(100)), "one"), 0.07)) == 7


def test_the_order_of_names_has_no_effect():
    assert draw_sample(STRATA, 0.3, seed=5) == draw_sample(
        dict(reversed(STRATA.items())), 0.3, seed=5
    )


def test_what_is_drawn_at_a_site_does_not_depend_on_other_sites():
    alone = {name: site for name, site in STRATA.items() if site == 9}
    assert draw_sample(alone, 0.2) == {
        name for name in draw_sample(STRATA, 0.2) if STRATA[name] == 9
    }


def test_another_seed_draws_others():
    assert draw_sample(STRATA, 0.2, seed=1) != draw_sample(STRATA, 0.2, seed=2)


def test_every_name_is_as_likely_as_another():
    names = dict.fromkeys(map(str, range(20)), "one")
    drawn = [name for seed in range(500) for name in draw_sample(names, 0.25, seed)]
    times = [drawn.count(name) for name in names]
    # 500 draws at 1/4: mean 125, standard deviation 9.7.
    assert min(times) > 125 - 4 * 9.7
    assert max(times) < 125 + 4 * 9.7


def test_all_can_be_drawn():
    assert draw_sample(STRATA, 1) == set(STRATA)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float):
    with pytest.raises(DataSetError, match="fraction"):
        draw_sample(STRATA, fraction)
