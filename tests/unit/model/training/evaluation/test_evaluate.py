"""An evaluation agrees with scikit-learn and torchmetrics; undefined values stay undefined."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss, precision_score, recall_score

from mernet.model.errors import FitError
from mernet.model.torchvision_compat import import_torchvision_models
from mernet.model.training.evaluation.evaluate import Evaluation, evaluate_predictions
from mernet.model.training.evaluation.predictions import Predictions

import_torchvision_models()  # torchmetrics imports torchvision
from torchmetrics.functional.classification import (  # noqa: E402
    multilabel_average_precision,
    multilabel_f1_score,
)

IMAGES, CODES = 200, ("aa", "bb", "cc", "dd", "ee")


@pytest.fixture
def truth() -> np.ndarray:
    """Five classes: two common, one shown by five images, one by none, one by all."""
    truth = np.random.default_rng(0).random((IMAGES, 5)) < np.array([0.6, 0.3, 0, 0, 1])
    truth[:5, 2] = True
    return truth


@pytest.fixture
def main(truth: np.ndarray) -> Predictions:
    odds = 3.0 * truth - 1.5 + np.random.default_rng(1).normal(0, 1.5, truth.shape)
    after = 1 / (1 + np.exp(-odds))
    after[:, 3] = 0.01  # nothing is published of the class that no image shows
    return Predictions(before=np.sqrt(after), after=after)


@pytest.fixture
def evaluation(truth: np.ndarray, main: Predictions) -> Evaluation:
    control = Predictions(main.before, np.full_like(main.after, 0.5))
    return evaluate_predictions(truth, main, control, CODES, CODES, resamples=20)


def test_scores_of_a_class_are_those_of_scikit_learn(
    truth: np.ndarray, main: Predictions, evaluation: Evaluation
):
    for stage, given in (("before", main.before), ("after", main.after)):
        scores = getattr(evaluation.main, stage).classes[1]
        above = given[:, 1] > 0.9
        assert scores.brier == brier_score_loss(truth[:, 1], given[:, 1])
        assert scores.log_loss == log_loss(truth[:, 1], given[:, 1])
        assert scores.precision.value == precision_score(truth[:, 1], above)
        assert scores.recall.value == recall_score(truth[:, 1], above)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1_at_one_half_is_that_of_torchmetrics_over_classes_that_are_shown_or_predicted(
    truth: np.ndarray, main: Predictions, evaluation: Evaluation, average: str
):
    shown = [0, 1, 2, 4]  # torchmetrics would count the class that is neither as 0
    theirs = multilabel_f1_score(
        torch.tensor(main.after[:, shown]),
        torch.tensor(truth[:, shown]).int(),
        num_labels=4,
        average=average,
    )
    ours = getattr(evaluation.main.after.overall, f"f1_{average}")
    assert ours == pytest.approx(float(theirs), abs=1e-6)  # float32


def test_mean_average_precision_is_that_of_torchmetrics_over_classes_with_a_positive(
    truth: np.ndarray, main: Predictions, evaluation: Evaluation
):
    shown = [0, 1, 2, 4]
    theirs = multilabel_average_precision(
        torch.tensor(main.after[:, shown]), torch.tensor(truth[:, shown]).int(), num_labels=4
    )
    ours = evaluation.main.after.overall.average_precision
    assert ours.value == pytest.approx(float(theirs), abs=1e-6)  # float32
    assert ours.classes == 4


def test_means_over_classes_leave_out_what_is_undefined(evaluation: Evaluation):
    overall, classes = evaluation.main.after.overall, evaluation.main.after.classes
    assert classes[3].precision.value is None
    defined = [each.precision.value for each in classes if each.precision.value is not None]
    assert overall.macro_precision.value == pytest.approx(np.mean(defined))
    assert overall.macro_precision.classes == len(defined) < 5
    assert overall.ece.bins_10 == pytest.approx(np.mean([each.ece.bins_10 for each in classes]))


def test_precision_over_all_labels_counts_every_published_label(
    truth: np.ndarray, main: Predictions, evaluation: Evaluation
):
    above = main.after > 0.9
    precision, recall = (
        evaluation.main.after.overall.precision,
        evaluation.main.after.overall.recall,
    )
    assert (precision.hits, precision.total) == ((above & truth).sum(), above.sum())
    assert (recall.hits, recall.total) == ((above & truth).sum(), truth.sum())


def test_a_class_that_no_image_shows_has_no_recall_and_no_average_precision(
    evaluation: Evaluation,
):
    scores = evaluation.main.after.classes[3]
    assert (scores.recall.value, scores.average_precision) == (None, None)
    assert scores.log_loss == pytest.approx(-np.log(0.99))


def test_classes_with_few_positives_or_few_negatives_are_marked(evaluation: Evaluation):
    marked = [each.code for each in evaluation.classes if each.insufficient]
    assert marked == ["cc", "dd", "ee"]


def test_an_evaluation_is_json_without_nan(evaluation: Evaluation):
    text = json.dumps(asdict(evaluation), allow_nan=False)
    assert json.loads(text)["main"]["after"]["classes"][3]["average_precision"] is None


def test_accuracy_is_given_only_if_every_image_shows_one_class(
    evaluation: Evaluation, main: Predictions
):
    assert evaluation.main.after.overall.accuracy is None
    labels = np.random.default_rng(3).integers(0, 5, IMAGES)
    truth = np.eye(5, dtype=bool)[labels]
    accuracy = evaluate_predictions(truth, main, None, CODES, CODES).main.after.overall.accuracy
    right = int((main.after.argmax(axis=1) == labels).sum())
    assert (accuracy.hits, accuracy.total) == (right, IMAGES)


def test_without_a_control_there_is_no_comparison(truth: np.ndarray, main: Predictions):
    alone = evaluate_predictions(truth, main, None, CODES, CODES, main_name="softmax")
    assert alone.control is None
    assert alone.comparison is None
    assert alone.main.name == "softmax"


def test_one_image_can_be_evaluated(truth: np.ndarray, main: Predictions):
    first = Predictions(main.before[:1], main.after[:1])
    one = evaluate_predictions(truth[:1], first, first, CODES, CODES, resamples=5)
    assert all(each.insufficient for each in one.classes)
    assert one.comparison.log_loss.verdict is None


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: p[:-1], "give the same images"),
        (lambda p: np.where(p > 0.5, np.nan, p), "between 0 and 1"),
        (lambda p: p + 0.5, "between 0 and 1"),
    ],
)
def test_wrong_probabilities_are_refused(
    truth: np.ndarray, main: Predictions, spoil: object, reason: str
):
    spoilt = replace(main, after=spoil(main.after))
    with pytest.raises(FitError, match=reason):
        evaluate_predictions(truth, spoilt, None, CODES, CODES)


def test_inputs_that_do_not_match_are_refused(truth: np.ndarray, main: Predictions):
    with pytest.raises(FitError, match="nothing to evaluate"):
        evaluate_predictions(
            truth[:0], Predictions(main.before[:0], main.after[:0]), None, CODES, CODES
        )
    with pytest.raises(FitError, match="as many codes and names"):
        evaluate_predictions(truth, main, None, CODES[:4], CODES)
    with pytest.raises(FitError, match="one for each image"):
        evaluate_predictions(truth, main, None, CODES, CODES, groups=["a"])
