"""Summarises an evaluation: sentences, and rows of tables for the terminal."""

from mernet.model.training.evaluation.evaluate import ClassScores, Evaluation, OverallScores
from mernet.model.training.evaluation.metrics import MIN_EVIDENCE, Share
from mernet.model.training.evaluation.table1 import Means, Measures, compare_with_table_1, means

Table = tuple[tuple[str, ...], list[tuple[object, ...]]]
"""Headers, and rows of names, numbers and None."""


def headlines(evaluation: Evaluation) -> list[str]:
    """Return the findings as plain sentences, most important first."""
    before, after = evaluation.main.before.overall, evaluation.main.after.overall
    sentences = [
        _precision_sentence(evaluation.threshold, after),
        f"Calibration changed the mean expected calibration error (15 bins) from "
        f"{before.ece.bins_15:.3f} to {after.ece.bins_15:.3f} (a perfectly calibrated model "
        f"would show about {after.ece_floor.bins_15:.3f} on as many images), the log-loss from "
        f"{before.log_loss:.3f} to {after.log_loss:.3f}.",
    ]
    if before.accuracy and after.accuracy:
        sentences.append(
            f"The most probable class is correct for {_format_share(after.accuracy)} of the "
            f"images, before calibration for {_format_share(before.accuracy)}."
        )
    return [*sentences, *_control_sentences(evaluation), *_warning_sentences(evaluation)]


def summary_rows(evaluation: Evaluation) -> Table:
    """Return one row per class and one over all classes.

    The figures are after calibration, the ECE (15 bins) also before it.
    """
    headers = ("class", "images", "ECE before", "ECE", "AP", "published", "precision", "recall", "")
    before, after = evaluation.main.before, evaluation.main.after
    rows = [
        (
            truth.code,
            truth.positives,
            *_row_values(was, now, now.average_precision),
            "insufficient evidence" if truth.insufficient else "",
        )
        for truth, was, now in zip(evaluation.classes, before.classes, after.classes, strict=True)
    ]
    mean = after.overall.average_precision.value
    total = ("all", evaluation.images, *_row_values(before.overall, after.overall, mean), "")
    return headers, [*rows, total]


def table_1_rows(evaluation: Evaluation, calibrated: bool = True) -> Table:
    """Return Table 1's figures, published and ours, before or after calibration, and their means.

    There are no rows if `compare_with_table_1` returns none. Data and split differ: the figures are
    for orientation only.
    """
    measures = ("ECE", "precision", "recall")
    headers = ("class", "images", "ours", *(m + of for m in measures for of in ("", " ours")))
    comparisons = compare_with_table_1(evaluation)
    published = [
        each.published.after if calibrated else each.published.before for each in comparisons
    ]
    ours = [each.after if calibrated else each.before for each in comparisons]
    rows: list[tuple[object, ...]] = [
        (each.published.code, each.published.count, each.images, *_interleave(*figures))
        for each, *figures in zip(comparisons, published, ours, strict=True)
    ]
    if comparisons:
        rows.append(("mean", None, None, *_interleave(means(published), means(ours))))
    return headers, rows


def _row_values(
    before: ClassScores | OverallScores,
    after: ClassScores | OverallScores,
    average_precision: float | None,
) -> tuple[float | None, ...]:
    return (
        before.ece.bins_15,
        after.ece.bins_15,
        average_precision,
        after.precision.total,
        after.precision.value,
        after.recall.value,
    )


def _interleave(published: Measures | Means, ours: Measures | Means) -> tuple[float, ...]:
    return (
        published.ece,
        ours.ece,
        published.precision,
        ours.precision,
        published.recall,
        ours.recall,
    )


def _format_share(share: Share) -> str:
    """Format a share with its counts and interval; `-` if it is undefined."""
    if share.value is None:
        return "-"
    return (
        f"{share.value:.3f} ({share.hits:,}/{share.total:,}, {share.low:.3f} to {share.high:.3f})"
    )


def _precision_sentence(threshold: float, after: OverallScores) -> str:
    if after.precision.total == 0:
        return f"No probability is above {threshold:g}: nothing would be published."
    return (
        f"Above {threshold:g}, {after.precision.total:,} labels would be published, with a "
        f"precision of {_format_share(after.precision)} and a recall of "
        f"{_format_share(after.recall)}."
    )


def _control_sentences(evaluation: Evaluation) -> list[str]:
    comparison = evaluation.comparison
    if comparison is None:
        return []
    measures = {
        "mean average precision": comparison.mean_average_precision,
        "log-loss": comparison.log_loss,
    }
    return [
        f"By {measure}: {each.verdict} ({evaluation.main.name} {each.main.value:.4f}, control "
        f"{each.control.value:.4f}, difference {each.difference.value:+.4f}, 95% interval "
        f"{each.difference.low:+.4f} to {each.difference.high:+.4f})."
        if each.verdict
        else f"By {measure}: too few groups of images to distinguish {evaluation.main.name} and "
        "control."
        for measure, each in measures.items()
    ]


def _warning_sentences(evaluation: Evaluation) -> list[str]:
    few = [each.code for each in evaluation.classes if each.insufficient]
    useless = [
        each.code
        for each, scores in zip(evaluation.classes, evaluation.main.after.classes, strict=True)
        if scores.ece.bins_15 > each.prevalence and not each.insufficient
    ]
    sentences = []
    if few:
        sentences.append(
            f"Insufficient evidence, with fewer than {MIN_EVIDENCE} images that show the class "
            f"or that do not: {', '.join(few)}."
        )
    if useless:
        sentences.append(
            "The calibration error is above the share of images that show the class, so that "
            f"answering 0 always would be better calibrated: {', '.join(useless)}."
        )
    return sentences
