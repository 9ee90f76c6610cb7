"""What an evaluation found: a few sentences, and rows for a table in the terminal."""

from mernet.model.training.evaluation.evaluate import ClassScores, Evaluation, OverallScores
from mernet.model.training.evaluation.metrics import MIN_EVIDENCE, Share
from mernet.model.training.evaluation.table1 import Means, Measures, beside_table_1, means

Table = tuple[tuple[str, ...], list[tuple[object, ...]]]
"""Headers, and rows of names, numbers and None."""


def headlines(evaluation: Evaluation) -> list[str]:
    """The findings in plain sentences, most important first."""
    before, after = evaluation.main.before.overall, evaluation.main.after.overall
    sentences = [
        _precision(evaluation.threshold, after),
        f"Calibration changed the mean expected calibration error (15 bins) from "
        f"{before.ece.bins_15:.3f} to {after.ece.bins_15:.3f}, where a perfectly calibrated model "
        f"would show about {after.ece_floor.bins_15:.3f} on as many images; log-loss went from "
        f"{before.log_loss:.3f} to {after.log_loss:.3f}.",
    ]
    if before.accuracy and after.accuracy:
        sentences.append(
            f"The most probable class is right for {_with_interval(after.accuracy)} of the images, "
            f"before calibration for {_with_interval(before.accuracy)}."
        )
    return [*sentences, *_against_control(evaluation), *_warnings(evaluation)]


def summary_rows(evaluation: Evaluation) -> Table:
    """One row a class and one over all, after calibration (ECE before it too); 15 bins."""
    headers = ("class", "images", "ECE before", "ECE", "AP", "published", "precision", "recall", "")
    before, after = evaluation.main.before, evaluation.main.after
    rows = [
        (
            truth.code,
            truth.positives,
            *_figures(was, now, now.average_precision),
            "insufficient evidence" if truth.insufficient else "",
        )
        for truth, was, now in zip(evaluation.classes, before.classes, after.classes, strict=True)
    ]
    mean = after.overall.average_precision.value
    total = ("all", evaluation.images, *_figures(before.overall, after.overall, mean), "")
    return headers, [*rows, total]


def table_1_rows(evaluation: Evaluation, calibrated: bool = True) -> Table:
    """Table 1's figures before or after calibration, theirs and ours, and their means.

    No rows where `beside_table_1` has none. Data and split differ: the figures stand beside each
    other, they are no contest.
    """
    measures = ("ECE", "precision", "recall")
    headers = ("class", "images", "ours", *(m + of for m in measures for of in ("", " ours")))
    beside = beside_table_1(evaluation)
    theirs = [each.theirs.after if calibrated else each.theirs.before for each in beside]
    ours = [each.after if calibrated else each.before for each in beside]
    rows: list[tuple[object, ...]] = [
        (each.theirs.code, each.theirs.count, each.images, *_paired(*figures))
        for each, *figures in zip(beside, theirs, ours, strict=True)
    ]
    if beside:
        rows.append(("mean", None, None, *_paired(means(theirs), means(ours))))
    return headers, rows


def _figures(
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


def _paired(theirs: Measures | Means, ours: Measures | Means) -> tuple[float, ...]:
    return (
        theirs.ece,
        ours.ece,
        theirs.precision,
        ours.precision,
        theirs.recall,
        ours.recall,
    )


def _with_interval(share: Share) -> str:
    """A share with its counts and interval; `-` where it is undefined."""
    if share.value is None:
        return "-"
    return (
        f"{share.value:.3f} ({share.hits:,}/{share.total:,}, {share.low:.3f} to {share.high:.3f})"
    )


def _precision(threshold: float, after: OverallScores) -> str:
    if after.precision.total == 0:
        return f"No probability is above {threshold:g}: nothing would be published."
    return (
        f"Above {threshold:g}, {after.precision.total:,} labels would be published, with a "
        f"precision of {_with_interval(after.precision)} and a recall of "
        f"{_with_interval(after.recall)}."
    )


def _against_control(evaluation: Evaluation) -> list[str]:
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
        else f"By {measure}: too few groups of images to tell {evaluation.main.name} and control "
        "apart."
        for measure, each in measures.items()
    ]


def _warnings(evaluation: Evaluation) -> list[str]:
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
