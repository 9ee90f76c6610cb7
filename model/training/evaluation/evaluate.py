"""Evaluates probabilities: scores by class, for both heads, before and after calibration."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from sklearn.metrics import brier_score_loss, f1_score, log_loss

from mernet.model.errors import FitError
from mernet.model.training.evaluation.comparison import HeadComparison, compare
from mernet.model.training.evaluation.metrics import (
    MIN_EVIDENCE,
    CalibrationError,
    Labels,
    Probabilities,
    Reliability,
    Share,
    above_threshold,
    average_precision,
    calibration_error,
    calibration_floor,
    reliability,
    share,
)
from mernet.model.training.evaluation.predictions import Predictions

F1_THRESHOLD = 0.5
"""The threshold of Mars-Bench's weighted F1."""


@dataclass(frozen=True, slots=True)
class ClassSupport:
    """How many images show a class.

    Attributes:
        code: Code of the class.
        name: Name of the class.
        positives: Number of images that show it.
        prevalence: Their share of all images.
        insufficient: Whether fewer than 10 images show it, or fewer than 10 do not.
    """

    code: str
    name: str
    positives: int
    prevalence: float
    insufficient: bool


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores of one class, before or after calibration.

    Attributes:
        ece: Expected calibration error.
        ece_floor: The error that a perfectly calibrated model would show.
        brier: Brier score.
        log_loss: Log-loss in nats.
        average_precision: Average precision; None without a positive.
        precision: Precision of the probabilities above the threshold.
        recall: Recall of the probabilities above the threshold.
        reliability: The reliability diagram.
    """

    ece: CalibrationError
    ece_floor: CalibrationError
    brier: float
    log_loss: float
    average_precision: float | None
    precision: Share
    recall: Share
    reliability: Reliability


@dataclass(frozen=True, slots=True)
class ClassMean:
    """A mean over the classes for which a value is defined, and the number of these classes."""

    value: float | None
    classes: int


@dataclass(frozen=True, slots=True)
class OverallScores:
    """The scores over all classes, before or after calibration.

    ECE, Brier score, log-loss and average precision are means over classes; precision and recall
    count all published and all shown labels. F1 is taken at 0.5 and ignores a class that is neither
    shown nor predicted. Accuracy is that of the most probable class; None if images show several
    classes or none.
    """

    ece: CalibrationError
    ece_floor: CalibrationError
    brier: float
    log_loss: float
    average_precision: ClassMean
    precision: Share
    recall: Share
    macro_precision: ClassMean
    macro_recall: ClassMean
    f1_macro: float | None
    f1_micro: float | None
    f1_weighted: float | None
    accuracy: Share | None


@dataclass(frozen=True, slots=True)
class StageScores:
    """Scores before or after calibration, by class and over all classes."""

    classes: tuple[ClassScores, ...]
    overall: OverallScores


@dataclass(frozen=True, slots=True)
class HeadScores:
    """The scores of one head, before and after calibration."""

    name: str
    before: StageScores
    after: StageScores


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A complete evaluation; `dataclasses.asdict` converts it for JSON, where None becomes null."""

    images: int
    threshold: float
    seed: int
    classes: tuple[ClassSupport, ...]
    main: HeadScores
    control: HeadScores | None
    comparison: HeadComparison | None


def evaluate_predictions(
    truth: Labels,
    main: Predictions,
    control: Predictions | None,
    classes: Sequence[str],
    names: Sequence[str],
    threshold: float = 0.9,
    seed: int = 0,
    resamples: int = 1000,
    groups: Sequence[str] | None = None,
    main_name: str = "chain",
) -> Evaluation:
    """Evaluate the predictions of two heads.

    Args:
        truth: (N, K) bool.
        main: Predictions of the main head.
        control: Predictions of the control; None if there is none.
        classes: Codes of the K classes.
        names: Names of the K classes.
        threshold: A class is published if its probability is greater.
        seed: Seed of the simulations.
        resamples: Number of bootstrap resamples for the intervals between the heads.
        groups: The group (N) of each image for these intervals, see `compare`.
        main_name: Name of the main head.

    Raises:
        FitError: Shapes differ, there is no image, or a number is not a probability.
    """
    heads = [head for head in (main, control) if head is not None]
    _check_inputs(truth, heads, classes, names, groups)
    comparison, control_scores = None, None
    if control is not None:
        control_scores = _score_head("control", truth, control, threshold, seed)
        comparison = compare(truth, main.after, control.after, groups, resamples, seed, main_name)
    return Evaluation(
        images=len(truth),
        threshold=threshold,
        seed=seed,
        classes=tuple(map(_class_support, classes, names, truth.T)),
        main=_score_head(main_name, truth, main, threshold, seed),
        control=control_scores,
        comparison=comparison,
    )


def _class_support(code: str, name: str, shown: Labels) -> ClassSupport:
    positives = int(shown.sum())
    rarer = min(positives, len(shown) - positives)
    return ClassSupport(
        code, name, positives, positives / len(shown), insufficient=rarer < MIN_EVIDENCE
    )


def _score_head(
    name: str, truth: Labels, head: Predictions, threshold: float, seed: int
) -> HeadScores:
    return HeadScores(
        name,
        _score_stage(truth, head.before, threshold, seed),
        _score_stage(truth, head.after, threshold, seed),
    )


def _score_stage(
    truth: Labels, probabilities: Probabilities, threshold: float, seed: int
) -> StageScores:
    above = above_threshold(probabilities, threshold)
    scores = tuple(
        _score_class(truth[:, k], probabilities[:, k], above[:, k], seed)
        for k in range(truth.shape[1])
    )
    return StageScores(scores, _score_overall(truth, probabilities, above, scores))


def _score_class(
    truth: Labels, probabilities: Probabilities, above: Labels, seed: int
) -> ClassScores:
    hits = int((truth & above).sum())
    return ClassScores(
        ece=calibration_error(truth, probabilities),
        ece_floor=calibration_floor(probabilities, seed),
        brier=float(brier_score_loss(truth, probabilities, labels=[False, True])),
        log_loss=float(log_loss(truth, probabilities, labels=[False, True])),
        average_precision=average_precision(truth, probabilities),
        precision=share(hits, int(above.sum())),
        recall=share(hits, int(truth.sum())),
        reliability=reliability(truth, probabilities),
    )


def _score_overall(
    truth: Labels, probabilities: Probabilities, above: Labels, scores: Sequence[ClassScores]
) -> OverallScores:
    hits = int((truth & above).sum())
    return OverallScores(
        ece=_mean_error([each.ece for each in scores]),
        ece_floor=_mean_error([each.ece_floor for each in scores]),
        brier=float(np.mean([each.brier for each in scores])),
        log_loss=float(np.mean([each.log_loss for each in scores])),
        average_precision=_mean_of_defined([each.average_precision for each in scores]),
        precision=share(hits, int(above.sum())),
        recall=share(hits, int(truth.sum())),
        macro_precision=_mean_of_defined([each.precision.value for each in scores]),
        macro_recall=_mean_of_defined([each.recall.value for each in scores]),
        f1_macro=_f1(truth, probabilities, "macro"),
        f1_micro=_f1(truth, probabilities, "micro"),
        f1_weighted=_f1(truth, probabilities, "weighted"),
        accuracy=_accuracy(truth, probabilities),
    )


def _mean_error(errors: Sequence[CalibrationError]) -> CalibrationError:
    return CalibrationError(*np.mean([astuple(error) for error in errors], axis=0).tolist())


def _mean_of_defined(values: Sequence[float | None]) -> ClassMean:
    defined = [value for value in values if value is not None]
    return ClassMean(float(np.mean(defined)) if defined else None, len(defined))


def _f1(truth: Labels, probabilities: Probabilities, average: str) -> float | None:
    predicted = probabilities > F1_THRESHOLD
    value = f1_score(truth, predicted, average=average, zero_division=np.nan)
    return None if np.isnan(value) else float(value)


def _accuracy(truth: Labels, probabilities: Probabilities) -> Share | None:
    if not (truth.sum(axis=1) == 1).all():
        return None
    right = truth.argmax(axis=1) == probabilities.argmax(axis=1)
    return share(int(right.sum()), len(right))


def _check_inputs(
    truth: Labels,
    heads: Sequence[Predictions],
    classes: Sequence[str],
    names: Sequence[str],
    groups: Sequence[str] | None,
) -> None:
    if truth.dtype != np.bool_ or truth.ndim != 2 or truth.size == 0:
        raise FitError(
            "there is nothing to evaluate: the truth must be booleans (images, classes) of "
            "at least one image"
        )
    if {len(classes), len(names)} != {truth.shape[1]}:
        raise FitError(f"the truth has {truth.shape[1]} classes; give as many codes and names")
    if groups is not None and len(groups) != len(truth):
        raise FitError(f"{len(groups)} groups for {len(truth)} images; give one for each image")
    for probabilities in (stage for head in heads for stage in (head.before, head.after)):
        _check_probabilities(probabilities, truth.shape)


def _check_probabilities(probabilities: Probabilities, shape: tuple[int, ...]) -> None:
    if probabilities.shape != shape:
        raise FitError(
            f"probabilities have shape {probabilities.shape}, the truth {shape}; give the same "
            "images"
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # False for NaN
        raise FitError("probabilities must be between 0 and 1; check the classifier's output")
