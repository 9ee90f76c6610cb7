"""DEMUD picks what the seen items do not explain, and returns how much of them is left."""

import numpy as np
import pytest

from mernet.model.errors import FitError
from mernet.model.training.discovery import demud
from mernet.model.training.discovery.demud import rank_by_novelty


def naive(data: np.ndarray, seen: np.ndarray, components: int, count: int) -> tuple[list, list]:
    """The description, step by step, with an SVD of all seen items for every pick."""
    order: list[int] = []
    scores: list[float] = []
    for _ in range(count):
        mean = seen.mean(axis=0)
        _, singular, vectors = np.linalg.svd(seen - mean, full_matrices=False)
        basis = vectors[:components][singular[:components] > 1e-9]
        off = data - mean
        errors = ((off - off @ basis.T @ basis) ** 2).sum(axis=1)
        errors[order] = -1
        order.append(int(errors.argmax()))
        scores.append(float(errors.max()))
        seen = np.vstack([seen, data[order[-1]]])
    return order, scores


def test_the_known_small_case():
    data = np.array([[0.0, 0.0], [-1.0, 1.0]])
    ranking = rank_by_novelty(data, seen=np.array([[1.0, 1.0], [-1.0, -1.0]]), components=1)
    assert ranking.order.tolist() == [1, 0]
    assert ranking.scores == pytest.approx([2.0, 2 / 9])


def test_with_one_item_seen_the_score_is_the_squared_distance_from_it():
    data = np.array([[3.0, 4.0], [6.0, 8.0], [0.0, 1.0]])
    ranking = rank_by_novelty(data, seen=np.zeros((1, 2)), components=2, count=1)
    assert (ranking.order.tolist(), ranking.scores.tolist()) == ([1], [pytest.approx(100)])


def test_with_nothing_seen_the_item_farthest_from_the_mean_comes_first():
    data = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1], [5, 5]])
    ranking = rank_by_novelty(data, count=1)
    assert ranking.order.tolist() == [4]
    assert ranking.scores == pytest.approx([32])


@pytest.mark.parametrize("dense", [500, 3])
@pytest.mark.parametrize("components", [1, 4, 100])
def test_picks_are_those_of_the_description_step_by_step(
    components: int, dense: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(demud, "MAX_DENSE", dense)
    random = np.random.default_rng(0)
    data, seen = (random.normal(size=(n, 12)) * np.arange(1, 13) + 100 for n in (60, 9))
    ranking = rank_by_novelty(
        data.astype(np.float32), seen.astype(np.float32), components, count=20
    )
    order, scores = naive(data, seen, components, count=20)
    assert ranking.scores == pytest.approx(scores, rel=1e-4, abs=1e-4)
    certain = [score > 1e-6 for score in scores]
    assert ranking.order[certain].tolist() == np.array(order)[certain].tolist()


def test_the_residual_is_what_mean_and_basis_leave_and_its_square_is_the_score():
    random = np.random.default_rng(1)
    ranking = rank_by_novelty(
        random.normal(size=(40, 30)), random.normal(size=(5, 30)), components=3
    )
    assert (ranking.residuals.astype(float) ** 2).sum(axis=1) == pytest.approx(
        ranking.scores, rel=1e-4
    )


def test_the_residual_shows_where_a_novel_item_differs():
    random = np.random.default_rng(2)
    usual = random.normal(size=(50, 2)) @ random.normal(size=(2, 20))
    novel = usual[:1].copy()
    novel[0, 7] += 3
    ranking = rank_by_novelty(novel, usual, components=2)
    assert np.abs(ranking.residuals[0]).argmax() == 7
    assert ranking.residuals[0, 7] == pytest.approx(3, abs=0.5)


def test_an_item_of_a_new_kind_comes_before_more_of_the_known_kinds():
    random = np.random.default_rng(3)
    common = random.normal(size=(100, 5)) @ random.normal(size=(5, 50))
    rare = random.normal(size=(2, 50)) * 3
    ranking = rank_by_novelty(np.vstack([common[20:], rare]), common[:20], components=5, count=2)
    assert set(ranking.order.tolist()) == {80, 81}


def test_every_item_is_picked_once_and_duplicates_of_the_seen_come_last_without_score():
    random = np.random.default_rng(4)
    data = random.normal(size=(10, 30))
    ranking = rank_by_novelty(data, seen=data[:3], components=10)
    assert sorted(ranking.order.tolist()) == list(range(10))
    assert set(ranking.order[-3:].tolist()) == {0, 1, 2}
    assert (ranking.scores >= 0).all()
    assert ranking.scores[-3:] == pytest.approx([0, 0, 0], abs=1e-9)


def test_identical_items_have_no_novelty():
    ranking = rank_by_novelty(np.ones((4, 3)), np.ones((2, 3)))
    assert ranking.order.tolist() == [0, 1, 2, 3]
    assert ranking.scores.tolist() == [0, 0, 0, 0]


def test_more_picks_than_items_are_cut_and_progress_reports_each():
    counts: list[tuple[int, int]] = []
    ranking = rank_by_novelty(np.eye(3), count=10, progress=lambda *count: counts.append(count))
    assert len(ranking.order) == 3
    assert counts == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("data", "seen", "components", "message"),
    [
        (np.zeros((0, 3)), None, 1, "at least one"),
        (np.zeros(3), None, 1, "at least one"),
        (np.zeros((2, 3)), np.zeros((2, 4)), 1, "in the same way"),
        (np.zeros((2, 3)), None, 0, "at least 1"),
        (np.full((2, 3), np.nan), None, 1, "NaN"),
        (np.zeros((2, 3)), np.full((2, 3), np.inf), 1, "NaN or infinite"),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    data: np.ndarray, seen: np.ndarray | None, components: int, message: str
):
    with pytest.raises(FitError, match=message):
        rank_by_novelty(data, seen, components)
