"""Table 1 as published: what follows from it, and an evaluation compared with it."""

import numpy as np
import pytest

from mernet.model.classes import CLASSES, CODES
from mernet.model.training.evaluation.evaluate import Evaluation, evaluate_predictions
from mernet.model.training.evaluation.predictions import Predictions
from mernet.model.training.evaluation.summary import table_1_rows
from mernet.model.training.evaluation.table1 import compare_with_table_1, means, table_1


def evaluated(codes: tuple[str, ...], threshold: float = 0.9) -> Evaluation:
    truth = np.random.default_rng(0).random((50, len(codes))) < 0.4
    given = np.where(truth, 0.95, 0.02)
    given[:, 0] = 0.5  # nothing of the first class is published
    return evaluate_predictions(truth, Predictions(given, given), None, codes, codes, threshold)


def test_the_rows_are_the_25_classes_in_chain_order():
    rows = [(row.position, row.code, row.name, row.group) for row in table_1()]
    assert rows == [(each.position, each.code, each.name, each.group) for each in CLASSES]


def test_the_means_of_table_1_are_the_known_ones():
    before, after = (means([getattr(row, s) for row in table_1()]) for s in ("before", "after"))
    known_before, known_after = (0.0290, 0.535, 0.318), (0.0141, 0.568, 0.268)
    assert (before.ece, before.precision, before.recall) == pytest.approx(known_before, abs=5e-4)
    assert (after.ece, after.precision, after.recall) == pytest.approx(known_after, abs=5e-4)
    assert after.without_recall == 10


def test_seven_classes_of_table_1_have_an_error_above_their_prevalence():
    assert sum(row.after.ece > row.percent / 100 for row in table_1()) == 7


def test_an_evaluation_of_our_classes_is_compared_with_table_1_in_its_order():
    comparisons = compare_with_table_1(evaluated(CODES[::-1]))
    assert [each.published.code for each in comparisons] == list(CODES)
    assert comparisons[0].after.precision == 1.0


def test_a_class_of_which_nothing_is_published_counts_as_zero_as_in_table_1():
    comparisons = compare_with_table_1(evaluated(CODES[:3]))
    assert [each.after.precision for each in comparisons] == [0.0, 1.0, 1.0]
    assert means([each.after for each in comparisons]).precision == pytest.approx(2 / 3)


def test_other_classes_are_not_compared_with_table_1():
    other = evaluated(("rod", "wheel"))
    assert compare_with_table_1(other) == ()
    assert table_1_rows(other)[1] == []


def test_another_threshold_is_not_compared_with_table_1():
    assert compare_with_table_1(evaluated(CODES, threshold=0.8)) == ()


def test_rows_for_the_terminal_end_with_the_means():
    headers, rows = table_1_rows(evaluated(CODES), calibrated=False)
    assert len(rows) == 26
    assert {len(row) for row in rows} == {len(headers)}
    assert rows[-1][3] == pytest.approx(0.0290, abs=5e-4)
