"""Plots of an evaluation, as SVG text to embed in an HTML page."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mernet.model.training.evaluation.comparison import Difference, Estimate
from mernet.model.training.evaluation.evaluate import ClassScores, ClassSupport, Evaluation
from mernet.model.training.evaluation.metrics import MIN_EVIDENCE, Reliability

Style = dict[str, Any]

# Okabe and Ito's colours, which colour-blind readers can distinguish; shapes differ as well.
BEFORE: Style = {"color": "#D55E00", "marker": "o", "markerfacecolor": "white"}
AFTER: Style = {"color": "#0072B2", "marker": "o"}
CONTROL: Style = {"color": "#CC79A7", "marker": "s"}
GREY = "#767676"

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: smaller, selectable, in the page's font
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "legend.frameon": False,
}
ROW_HEIGHT = 0.24
"""Height of a class's row in a plot, in inches."""


@contextmanager
def _style() -> Iterator[None]:
    """Plot in our style alone, whatever a file `matplotlibrc` of the user or the folder says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def reliability_diagram(before: ClassScores, after: ClassScores, description: str) -> str:
    """Plot the share of positives over the mean probability, and each bin's number of images."""
    with _style():
        figure = Figure(figsize=(2.5, 2.9), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        for scores, style in ((before, BEFORE), (after, AFTER)):
            _plot_reliability(upper, lower, scores.reliability, style)
        upper.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), ylabel="share positive")
        lower.set(yscale="log", ylim=(0.7, None), xlabel="probability", ylabel="images")
        return _to_svg(figure, description)


def calibration_plot(evaluation: Evaluation) -> str:
    """Plot each class's ECE before and after calibration, with the floor after it."""
    before, after = evaluation.main.before.classes, evaluation.main.after.classes
    rows = range(len(after))
    with _style():
        figure, (axes,) = _create_class_rows(evaluation.classes)
        pairs = [(b.ece.bins_15, a.ece.bins_15) for b, a in zip(before, after, strict=True)]
        axes.hlines(rows, *zip(*pairs, strict=True), color=GREY, linewidth=1)
        floors = [each.ece_floor.bins_15 for each in after]
        axes.plot(
            floors, rows, "|", color="black", markersize=9, label="floor: perfect calibration"
        )
        for stage, (label, style) in enumerate((("before", BEFORE), ("after", AFTER))):
            axes.plot([pair[stage] for pair in pairs], rows, linestyle="", label=label, **style)
        axes.set(xlabel="expected calibration error, 15 bins", xlim=(0, None))
        figure.legend(loc="outside upper center", ncols=3)
        return _to_svg(
            figure, "Expected calibration error of each class before and after calibration"
        )


def comparison_plot(evaluation: Evaluation, differences: Sequence[Difference]) -> str:
    """Plot the average precision of both heads and their difference, with intervals."""
    name = evaluation.main.name
    with _style():
        figure, (axes, right) = _create_class_rows(evaluation.classes, columns=2)
        _plot_estimates(axes, [each.control for each in differences], 0.15, "control", CONTROL)
        _plot_estimates(axes, [each.main for each in differences], -0.15, name, AFTER)
        black = {"color": "black", "marker": "D"}
        _plot_estimates(right, [each.difference for each in differences], 0, "", black)
        right.axvline(0, color=GREY, linewidth=0.8)
        axes.set(xlabel="average precision", xlim=(-0.02, 1.02))
        right.set(xlabel=f"difference ({name} minus control)")
        figure.legend(loc="outside upper center", ncols=2)
        return _to_svg(figure, f"Average precision of {name} and control, and their difference")


def _plot_reliability(upper: Axes, lower: Axes, bins: Reliability, style: Style) -> None:
    """Plot the bins that have enough images; the others would be noise."""
    enough = np.array(bins.counts) >= MIN_EVIDENCE
    means = np.array(bins.mean_probability, dtype=float)[enough]
    positives = np.array(bins.share_positive, dtype=float)[enough]
    upper.plot(means, positives, markersize=4, linewidth=1, **style)
    lower.stairs(bins.counts, bins.edges, color=style["color"], baseline=None)


def _create_class_rows(
    classes: Sequence[ClassSupport], columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """Create a figure with one row per class; a dagger marks insufficient evidence."""
    figure = Figure(figsize=(8, 1.2 + ROW_HEIGHT * len(classes)), layout="constrained")
    grid = figure.subplots(1, columns, sharey=True, squeeze=False, width_ratios=(2, 1)[:columns])
    labels = [each.name + (" †" if each.insufficient else "") for each in classes]
    grid[0, 0].set(yticks=range(len(classes)), yticklabels=labels, ylim=(len(classes) - 0.5, -0.5))
    for axes in grid[0]:
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_axisbelow(True)
    return figure, list(grid[0])


def _plot_estimates(
    axes: Axes, estimates: Sequence[Estimate], shift: float, label: str, style: Style
) -> None:
    """Plot values with their intervals, `shift` of a row off the middle; None is left out."""
    rows = [row + shift for row in range(len(estimates))]
    values = [np.nan if each.value is None else each.value for each in estimates]
    axes.plot(values, rows, linestyle="", markersize=5, label=label, **style)
    for row, each in zip(rows, estimates, strict=True):
        if each.low is not None and each.high is not None:
            axes.hlines(row, each.low, each.high, color=style["color"], linewidth=1.2)


def _to_svg(figure: Figure, description: str) -> str:
    """Return the figure as an <svg> element; the same figure always gives the same text."""
    text = io.StringIO()
    # The salt is part of the ids, which must differ between the plots of one page.
    with mpl.rc_context({"svg.hashsalt": description}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    drawing = text.getvalue()
    label = f'<svg role="img" aria-label="{escape(description, quote=True)}" '
    return drawing[drawing.index("<svg ") :].replace("<svg ", label, 1)
