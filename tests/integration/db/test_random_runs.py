"""Random sequences of runs: what is published equals a slow model's, and nothing is lost silently.

A step is a run over an archive or a folder, with or without reclassifying, a retry, an ingest that
withdraws, another threshold or another classifier. Products are classified, or fail for a passing
or a lasting reason, at random.
"""

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from fixtures.ledger import make_product
from mernet.db import classifiers, ledger
from mernet.db.classifiers import NewClassifier
from mernet.db.ledger import ListedArchives, NewRun
from mernet.db.publish import Classified, Failed
from mernet.db.thresholds import set_threshold

ARCHIVES = ("https://a.example/", "https://b.example/")
FOLDERS = ("file:///one/", "file:///two/")
TYPES = ("EFF", "ESF", "EDN", "ETH", "FFL", "SFL", "DNL", "THN", "ILF")
NAMES = [
    f"1P{clock:09d}{kind}0000P2600L2M{version}"
    for clock, kind, version in itertools.product((1, 2, 3), ("EFF", "EDN", "ILF"), "12")
]
SHA256 = {"first": "a" * 64, "second": "b" * 64}
CODES = ("rod", "pct")
STEPS = 30


def row_of(name, source):
    """The product as a source lists it."""
    size = 512 if name[11:14] == "EDN" else 1024
    return make_product(
        1, product_id=name, source=source, collection="own" if source in FOLDERS else "archive",
        image_url=f"{source}{name}.img", lines=size, line_samples=size,
    )  # fmt: skip


@dataclass
class Known:
    """A product of the model."""

    source: str
    since: int
    published: bool
    withdrawn: bool = False
    superseded: bool = False

    @property
    def own(self):
        return self.source in FOLDERS


@dataclass
class Outcome:
    """What became of a product under a classifier."""

    scores: tuple | None
    reason: str | None
    is_lasting: bool
    time: int

    @property
    def facts(self):
        return self.scores, self.reason


@dataclass
class Model:
    """The rules in plain Python, one product at a time."""

    products: dict = field(default_factory=dict)
    outcomes: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)
    history: Counter = field(default_factory=Counter)
    thresholds: dict = field(default_factory=dict)
    current: str = "first"
    time: int = 0

    def list(self, names, source, publish):
        self.time += 1
        for name in names:
            self._list_one(name, source, publish)
        for name, known in self.products.items():
            versions = [each[26] for each in names if each[:26] == name[:26]]
            if versions and known.source == source:
                known.superseded = max(versions) > name[26]

    def _list_one(self, name, source, publish):
        is_own = source in FOLDERS
        known = self.products.get(name)
        if known is None:
            self.products[name] = Known(source, self.time, not is_own or publish)
            return
        yields = known.withdrawn or (known.own and not is_own)
        if not (is_own and not known.own) and (known.source == source or yields):
            if known.own and known.source != source:
                self._set_aside(name)
            if known.own != is_own:
                known.since, known.published = self.time, True
            known.source, known.withdrawn = source, False
        if is_own and known.own:
            known.published = known.published or publish

    def _set_aside(self, name):
        for classifier in SHA256:
            if self.outcomes.pop((name, classifier), None):
                self.history[name, classifier] += 1

    def members(self, names, source, reclassify):
        """Return which of the listed products are to be classified."""
        return [
            name for name in names
            if not (source in FOLDERS and not self.products[name].own)
            and (reclassify or (name, self.current) not in self.outcomes)
        ]  # fmt: skip

    def withdraw(self, names, source):
        for name, known in self.products.items():
            listed = [each for each in names if each[:26] == name[:26] and each[26] >= name[26]]
            if known.source == source and not listed:
                known.withdrawn = True
        for name, known in self.products.items():
            if known.source == source and not self._newer(name):
                known.superseded = False

    def _newer(self, name, collection=None):
        return [
            each for each, known in self.products.items()
            if each[:26] == name[:26] and each[26] > name[26] and not known.withdrawn
            and collection in (None, known.own)
        ]  # fmt: skip

    def new(self, names, source):
        """Return which of the listed products an ingest finds new."""
        return [
            name for name in self.members(names, source, reclassify=False)
            if not self._newer(name, self.products[name].own)
        ]  # fmt: skip

    def retried(self):
        def is_failed(name):
            outcome = self.outcomes.get((name, self.current))
            failed = self.failures.get((name, self.current))
            return failed and not (outcome and outcome.scores and outcome.time > failed)

        return [
            name for name, known in self.products.items()
            if is_failed(name) and not known.withdrawn and not known.superseded
        ]  # fmt: skip

    def publish(self, results):
        self.time += 1
        for result in results:
            key = result.product_id, self.current
            scores = getattr(result, "scores", None)
            if scores is None:
                self.failures[key] = self.time
            became = Outcome(
                scores, getattr(result, "reason", None), getattr(result, "is_lasting", False),
                self.time,
            )  # fmt: skip
            before = self.outcomes.get(key)
            if before is None:
                self.outcomes[key] = became
            elif scores or became.is_lasting or not (before.scores or before.is_lasting):
                self.history[key] += before.facts != became.facts
                self.outcomes[key] = became

    def shown(self):
        """Return product and class of each hit in the Atlas."""
        candidates = {}
        for name, known in self.products.items():
            outcome = self.outcomes.get((name, self.current))
            if known.published and not known.withdrawn and outcome and outcome.scores:
                candidates.setdefault(name[:11] + name[23:25], []).append(name)
        return {
            (name, code)
            for rivals in candidates.values()
            for name in [min(sorted(rivals, reverse=True), key=self._preference)]
            for code, score in zip(CODES, self.outcomes[name, self.current].scores, strict=False)
            if score > self.thresholds.get((self.current, code), 0.9)
        }

    def _preference(self, name):
        known, kind = self.products[name], name[11:14]
        return (
            known.own,
            known.superseded,
            kind == "EDN",
            kind[0] != "E",
            TYPES.index(kind),
            known.since,
        )


class Steps:
    """Does the same to the database and to the model."""

    def __init__(self, story, seed):
        self.story, self.engine = story, story.engine
        self.random, self.model = random.Random(seed), Model()
        self.told = {}

    def result(self, name):
        kind = self.random.choices(["classified", "passing", "lasting"], [6, 3, 1])[0]
        if kind == "classified":
            scores = [self.random.choice([0.2, 0.92, 0.97]) for _ in CODES]
            return Classified(name, (*scores, *[0.1] * 23))
        reason = "not found" if kind == "lasting" else "transfer failed"
        return Failed(name, reason, "It is so.", kind == "lasting")

    def listing(self, source):
        """Return names of which a source lists the highest version only."""
        names = self.random.sample(NAMES, self.random.randint(1, len(NAMES) // 2))
        highest = {name[:26]: name for name in sorted(names)}
        return sorted(highest.values())

    def finish(self, run_id, expected):
        claimed = self.story.claim(run_id, 1)
        found = [each.product_id for each in claimed.products] if claimed else []
        assert found == sorted(expected)
        if found:
            results = [self.result(name) for name in found]
            assert self.story.settle(run_id, 1, results)
            self.model.publish(results)

    def run(self, places):
        source = self.random.choice(places)
        publish, reclassify = self.random.random() < 0.5, self.random.random() < 0.3
        names = self.listing(source)
        new = NewRun(("sample",), chunk_size=100, reclassify=reclassify, publish_own=publish)
        run_id = ledger.create_run(self.engine, new).run_id
        self.story.list_run(run_id, [row_of(name, source) for name in names])
        self.model.list(names, source, publish)
        self.finish(run_id, self.model.members(names, source, reclassify))

    def archive_run(self):
        self.run(ARCHIVES)

    def folder_run(self):
        self.run(FOLDERS)

    def ingest(self):
        source = self.random.choice(ARCHIVES)
        names = self.listing(source)
        found = ListedArchives((source,), (), rows_read=1, left_out={})
        rows = [row_of(name, source) for name in names]
        wanted = NewRun(("sample",), products="any", chunk_size=100)
        made = ledger.record_new(self.engine, wanted, rows, found)
        self.model.list(names, source, publish=False)
        self.model.withdraw(names, source)
        expected = self.model.new(names, source)
        assert made.new == len(expected)
        if made.run:
            self.finish(made.run.run_id, expected)

    def retry(self):
        expected = self.model.retried()
        made = ledger.create_retry(self.engine, chunk_size=100)
        assert (made is not None) == bool(expected)
        if made:
            self.finish(made.run_id, expected)

    def threshold(self):
        code, value = self.random.choice(CODES), self.random.choice([0.1, 0.9, 0.95])
        set_threshold(self.engine, code, value)
        self.model.thresholds[self.model.current, code] = value

    def promotion(self):
        self.model.current = self.random.choice(list(SHA256))
        classifiers.promote(self.engine, self.model.current)

    def check(self, before, step):
        shown = {(row[0], row[1]) for row in self.story.rows(HITS)}
        assert shown == self.model.shown()
        for name in {name for name, _ in before - shown}:
            known, key = self.model.products[name], (name, self.model.current)
            assert (
                step in ("threshold", "promotion")
                or known.withdrawn
                or self.model.history[key] > self.history_before[key]
                or any(each[:11] == name[:11] for each, _ in shown | self.rivals(name))
            ), name
        history = Counter({(row[0], row[1]): row[2] for row in self.story.rows(HISTORY)})
        assert history == +self.model.history
        latest = self.latest_run()
        self.check_runs(range(max(1, latest - 4), latest + 1))

    def latest_run(self):
        return self.story.rows("SELECT count(*) FROM run")[0][0]

    def check_runs(self, run_ids):
        """What a run did is told as before, and today's rows follow from today's outcomes."""
        for run_id in run_ids:
            told = self.tell(run_id)
            assert self.told.setdefault(run_id, told) == told
            found = ledger.reconcile(self.engine, run_id)
            assert (found.missing, found.wrong_rows) == (0, 0)

    def rivals(self, name):
        """The products that may be shown instead, also without a class above the threshold."""
        return {
            (each, "") for each, known in self.model.products.items()
            if each != name and known.published and not known.withdrawn
            and (outcome := self.model.outcomes.get((each, self.model.current))) and outcome.scores
        }  # fmt: skip

    def tell(self, run_id):
        now = ledger.progress(self.engine, run_id)
        counts = now.listed, now.kept, now.kept_failed, now.known, now.classified, now.failed
        return counts, ledger.failed_products(self.engine, run_id)


HITS = "SELECT product_id, class FROM atlas_search"
HISTORY = """
SELECT product_id, name, count(*) FROM outcome_history
JOIN classifier ON sha256 = outcome_history.classifier GROUP BY 1, 2
"""


@pytest.mark.parametrize("seed", range(5))
def test_what_is_published_follows_the_rules_after_each_step(story, seed):
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/b", 0.9, {}))
    steps = Steps(story, seed)
    names = ["archive_run", "folder_run", "ingest", "retry", "threshold", "promotion"]
    shown = set()
    for _ in range(STEPS):
        step = steps.random.choices(names, [4, 3, 2, 2, 1, 1])[0]
        steps.history_before = Counter(steps.model.history)
        getattr(steps, step)()
        steps.check(shown, step)
        shown = steps.model.shown()
    steps.check_runs(range(1, steps.latest_run() + 1))
    assert steps.model.history
