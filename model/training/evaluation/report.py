"""Writes an evaluation as JSON, CSV and one self-contained HTML page."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mernet.model.training.evaluation.evaluate import ClassSupport, Evaluation, HeadScores
from mernet.model.training.evaluation.metrics import MIN_EVIDENCE
from mernet.model.training.evaluation.plots import (
    calibration_plot,
    comparison_plot,
    reliability_diagram,
)
from mernet.model.training.evaluation.summary import headlines
from mernet.model.training.evaluation.table1 import (
    Means,
    Table1Comparison,
    compare_with_table_1,
    means,
)
from mernet.model.training.html_templates import load_template
from mernet.model.training.text_files import write_text
from mernet.printable import csv_cell

FILE_STEM = "evaluation"


def write_report(folder: Path, evaluation: Evaluation, provenance: Mapping[str, str]) -> Path:
    """Write evaluation.json, .csv and .html into a folder, which is created if necessary.

    Each file appears completely or not at all; the same arguments give the same bytes.

    Args:
        folder: The folder.
        evaluation: The evaluation.
        provenance: What was evaluated (checkpoint, data set, versions), in the order to show it.

    Returns:
        Path of the page.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"provenance": dict(provenance), **asdict(evaluation)}
    page = folder / f"{FILE_STEM}.html"
    write_text(folder / f"{FILE_STEM}.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_text(folder / f"{FILE_STEM}.csv", as_csv(evaluation))
    write_text(page, as_html(evaluation, provenance))
    return page


def as_csv(evaluation: Evaluation) -> str:
    """Return one row per class and head, one column per number; an undefined number is empty."""
    heads = [evaluation.main, evaluation.control]
    rows = [
        row for head in heads if head is not None for row in _iterate_csv_rows(evaluation, head)
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (list(rows[0]), *(list(each.values()) for each in rows)):
        writer.writerow([csv_cell(value) for value in row])
    return text.getvalue()


def as_html(evaluation: Evaluation, provenance: Mapping[str, str]) -> str:
    """Return the page, with its plots embedded."""
    comparison, table_1_rows = evaluation.comparison, compare_with_table_1(evaluation)
    heads = [head for head in (evaluation.main, evaluation.control) if head is not None]
    return load_template("evaluation.html").render(
        evaluation=evaluation,
        provenance=provenance,
        headlines=headlines(evaluation),
        enough=MIN_EVIDENCE,
        heads=heads,
        overall=[stage.overall for head in heads for stage in (head.before, head.after)],
        table_1=table_1_rows,
        means=_table_1_means(table_1_rows) if table_1_rows else None,
        calibration=calibration_plot(evaluation),
        comparison=comparison and comparison_plot(evaluation, comparison.average_precision),
        diagrams=list(_iterate_diagrams(evaluation)),
    )


def _iterate_csv_rows(evaluation: Evaluation, head: HeadScores) -> Iterator[dict[str, Any]]:
    stages = (head.before.classes, head.after.classes)
    for truth, before, after in zip(evaluation.classes, *stages, strict=True):
        scores = {"before": asdict(before), "after": asdict(after)}
        for stage in scores.values():
            del stage["reliability"]  # only in the JSON
        yield {"head": head.name, **asdict(truth), **_flatten(scores)}


def _flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten {"a": {"b": 1}} to {"a_b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        inner = _flatten(value) if isinstance(value, Mapping) else {"": value}
        flat |= {f"{key}_{name}".rstrip("_"): number for name, number in inner.items()}
    return flat


def _iterate_diagrams(evaluation: Evaluation) -> Iterator[tuple[ClassSupport, str]]:
    stages = (evaluation.main.before.classes, evaluation.main.after.classes)
    for truth, before, after in zip(evaluation.classes, *stages, strict=True):
        yield truth, reliability_diagram(before, after, f"Reliability of {truth.name}")


def _table_1_means(table_1_rows: Sequence[Table1Comparison]) -> dict[str, Means]:
    return {
        "published_before": means([each.published.before for each in table_1_rows]),
        "before": means([each.before for each in table_1_rows]),
        "published_after": means([each.published.after for each in table_1_rows]),
        "after": means([each.after for each in table_1_rows]),
    }
