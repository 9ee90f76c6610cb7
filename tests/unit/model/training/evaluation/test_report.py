"""The report: JSON, CSV and a self-contained page with the findings."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mernet.model.classes import CODES
from mernet.model.training.evaluation.evaluate import Evaluation, evaluate_predictions
from mernet.model.training.evaluation.predictions import Predictions
from mernet.model.training.evaluation.report import write_report
from mernet.model.training.evaluation.summary import headlines, summary_rows

PROVENANCE = {"checkpoint": "tiny <1>", "sha256": "ab" * 32, "evaluated on": "part test"}
CLASSES = 3


def evaluated(codes: tuple[str, ...] = CODES[:CLASSES], control: bool = True) -> Evaluation:
    """An evaluation of 80 images; none shows the last class."""
    random = np.random.default_rng(0)
    truth = random.random((80, len(codes))) < np.linspace(0.5, 0, len(codes))
    after = np.clip(0.7 * truth + random.random(truth.shape) * 0.3, 0, 1)
    main = Predictions(np.sqrt(after), after)
    other = Predictions(main.before, after**2) if control else None
    return evaluate_predictions(truth, main, other, codes, codes, resamples=20)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "made" / "here"
    write_report(folder, evaluated(), PROVENANCE)
    return folder


class Addresses(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "data")]


def test_a_report_is_three_complete_files_in_a_new_folder(report: Path):
    assert sorted(path.name for path in report.iterdir()) == [
        "evaluation.csv",
        "evaluation.html",
        "evaluation.json",
    ]


def test_the_json_contains_provenance_and_all_numbers(report: Path):
    content = json.loads((report / "evaluation.json").read_text())
    assert content["provenance"] == PROVENANCE
    assert content["images"] == 80
    assert content["main"]["after"]["classes"][0]["ece"]["bins_15"] > 0


def test_the_csv_has_a_row_for_each_class_and_head_and_leaves_undefined_empty(report: Path):
    with (report / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["head"], row["code"]) for row in rows] == [
        (head, code) for head in ("chain", "control") for code in CODES[:CLASSES]
    ]
    assert rows[2]["after_average_precision"] == rows[2]["after_recall_value"] == ""
    assert float(rows[0]["after_ece_bins_15"]) > 0


def test_the_page_loads_nothing(report: Path):
    text = (report / "evaluation.html").read_text()
    addresses = Addresses()
    addresses.feed(text)
    assert all(address.startswith("#") for address in addresses.found)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_page_shows_the_headlines_and_the_provenance(report: Path):
    text = (report / "evaluation.html").read_text()
    assert all(sentence in text for sentence in headlines(evaluated()))
    assert "<h1>Evaluation of tiny &lt;1&gt;</h1>" in text
    assert "tiny <1>" not in text


def test_each_id_that_a_plot_refers_to_is_on_the_page_exactly_once(report: Path):
    text = (report / "evaluation.html").read_text()
    referred = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    assert referred
    assert {text.count(f'id="{each}"') for each in referred} == {1}


def test_the_same_evaluation_gives_the_same_bytes(report: Path, tmp_path: Path):
    write_report(tmp_path, evaluated(), PROVENANCE)
    for path in report.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_page_without_control_or_table_1_leaves_both_out(tmp_path: Path):
    page = write_report(tmp_path, evaluated(("wheel", "drill"), control=False), {})
    text = page.read_text()
    assert "control" not in text
    assert "Table 1" not in text


def test_headlines_name_the_classes_without_evidence():
    sentences = headlines(evaluated())
    assert any(each.startswith("Insufficient evidence") for each in sentences)
    assert sentences[-1].endswith(f": {CODES[2]}.")
    assert any(each.startswith("By log-loss: ") for each in sentences)


def test_headlines_say_so_when_nothing_is_published():
    truth = np.eye(2, dtype=bool)[np.arange(30) % 2]
    given = np.full((30, 2), 0.5)
    found = headlines(
        evaluate_predictions(truth, Predictions(given, given), None, ("a", "b"), ("a", "b"))
    )
    assert found[0] == "No probability is above 0.9: nothing would be published."
    assert "The most probable class is correct for 0.500 (15/30" in found[2]


def test_rows_for_the_terminal_are_one_per_class_and_one_over_all():
    headers, rows = summary_rows(evaluated())
    assert [row[0] for row in rows] == [*CODES[:CLASSES], "all"]
    assert {len(row) for row in rows} == {len(headers)}
    assert rows[2][4] is None
    assert rows[2][-1] == "insufficient evidence"
