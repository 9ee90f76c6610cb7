"""Random sequences of runs: what is published equals a slow model's, and nothing is lost silently.

A step is a run or an ingest over archives, mirrors or folders, with or without reclassifying, a
retry, an archive that moves, another threshold or another classifier. Archives list other versions
and other places each time, mirrors what an archive may have listed long ago; files of folders are
copied and moved. Products are classified, or fail for a passing or a lasting reason, at random; the
scores tell which archive's bytes they were made from.
"""

import itertools
import random
from collections import Counter

import pytest

from fixtures.ledger import LEASE, make_product
from fixtures.publishing_model import CLASSIFIERS, CODES, Model, Row, exposure, name_key
from mernet.db import classifiers, ledger
from mernet.db.classifiers import NewClassifier
from mernet.db.ledger import ListedArchives, NewRun
from mernet.db.publish import Classified, Failed
from mernet.db.thresholds import set_threshold

ADDRESSES = {
    "a": ("https://a.example/", "https://a.moved.example/"),
    "b": ("https://b.example/", "https://b.example/data/"),
}
SCORES = {"a": (0.2, 0.92, 0.97), "b": (0.3, 0.93, 0.98), "own": (0.4, 0.94, 0.99)}
"""The scores that a class may get from the bytes of these archives and of folders."""
FOLDERS = ("file:///one/", "file:///two/")
NAMES = [
    f"1P{clock:09d}{kind}0000P2600L2M{version}"
    for clock, kind, version in itertools.product((1, 2, 3), ("EFF", "EDN", "ILF"), "12")
]
SEEDS, STEPS = 5, 40
WEIGHTS = {
    "run": 8, "ingest": 5, "mirror_run": 3, "mirror_ingest": 3, "retry": 3, "move": 2,
    "threshold": 1, "promotion": 1,
}  # fmt: skip


def product_of(row):
    """The product as a source lists it."""
    size = 512 if row.name[11:14] == "EDN" else 1024
    return make_product(
        1, product_id=row.name, source=row.source, collection="own" if row.own else "archive",
        image_url=row.url, lines=size, line_samples=size,
    )  # fmt: skip


def archive_of(source):
    """The archive with one of these addresses, 'own' for folders."""
    return next((each for each, places in ADDRESSES.items() if source in places), "own")


class Steps:
    """Does the same to the database and to the model."""

    def __init__(self, story, seed):
        self.story, self.engine = story, story.engine
        self.random, self.model = random.Random(seed), Model()
        self.told = {}
        self.history, self.moves = Counter(), Counter()
        self.address = dict.fromkeys(ADDRESSES, 0)

    @property
    def archives(self):
        return [ADDRESSES[each][place] for each, place in self.address.items()]

    def result(self, source):
        """Return scores, or a reason and whether it is lasting, of a product read there."""
        kind = self.random.choices(["classified", "passing", "lasting"], [6, 3, 1])[0]
        if kind == "classified":
            scores = tuple(self.random.choice(SCORES[archive_of(source)]) for _ in CODES)
            return (*scores, *[0.1] * 23), None, False
        return None, "not found" if kind == "lasting" else "transfer failed", kind == "lasting"

    def listing(self, places):
        """Return rows of these places, of each name the highest version only, as listings are."""
        rows = {}
        for source in places:
            for name in sorted(self.random.sample(NAMES, self.random.randint(1, 9))):
                folder = self.random.choice(["", "", "", "other/"])
                row = Row(name, source, f"{source}{folder}{name}.img")
                rival = rows.get((name_key(name), row.own))
                if rival is None or rival.source == source or rival.name < name:
                    rows[name_key(name), row.own] = row
        return list(rows.values())

    def some_moved(self, rows):
        """Return listed own images, at random, whose files are gone from where they were."""
        known = self.model.products
        return [
            row.name for row in rows
            if row.own and row.name in known and known[row.name].own
            and known[row.name].row.url != row.url and self.random.random() < 0.5
        ]  # fmt: skip

    def some_places(self, places):
        return self.random.sample(places, self.random.choice([1, 1, 2]))

    def finish(self, run_id, expected):
        """Classify what a run is to classify, where it is to read it."""
        claimed = self.story.claim(run_id, 1)
        found = claimed.products if claimed else ()
        assert {each.product_id: (each.source, each.image_url) for each in found} == {
            name: (row.source, row.url) for name, row in expected.items()
        }
        if found:
            results = {each.product_id: self.result(each.source) for each in found}
            assert self.story.settle(run_id, 1, [to_outcome(*each) for each in results.items()])
            self.model.publish(results, expected)

    def run(self, at_mirror=False):
        places = self.archives if at_mirror else [*self.archives, *FOLDERS]
        rows = self.listing(self.some_places(places))
        publish, reclassify = self.random.random() < 0.5, self.random.random() < 0.3
        moved = self.some_moved(rows)
        run_id = ledger.create_run(
            self.engine,
            NewRun(
                ("sample",), chunk_size=100, reclassify=reclassify, publish_own=publish,
                mirror="/mirror" if at_mirror else None,
            ),
        ).run_id  # fmt: skip
        ledger.claim_listing(self.engine, run_id, "lister", LEASE, 3)
        products = [product_of(row) for row in rows]
        assert ledger.record_listing(self.engine, run_id, "lister", products, {}, moved=moved)
        self.model.merge(rows, publish, at_mirror, moved)
        self.finish(run_id, self.model.members(rows, reclassify))

    def mirror_run(self):
        self.run(at_mirror=True)

    def ingest(self, at_mirror=False):
        places = self.archives if at_mirror else [*self.archives, *FOLDERS]
        sources = self.some_places(places)
        rows = [row for source in sources for row in self.listing([source])]
        read = () if at_mirror else tuple(sources)
        moved = self.some_moved(rows)
        found = ListedArchives(
            read, (), 1, {}, mirrored=tuple(sources) if at_mirror else (), moved=tuple(moved)
        )
        wanted = NewRun(
            ("sample",), products="any", chunk_size=100, mirror="/mirror" if at_mirror else None
        )
        made = ledger.record_new(self.engine, wanted, [product_of(row) for row in rows], found)
        self.model.merge(rows, False, at_mirror, moved)
        if self.model.withdraw(rows, read):
            self.model.merge(rows, False, at_mirror, moved)
        self.model.unmark(read)
        expected = self.model.new(rows)
        assert made.new == len(expected)
        if made.run:
            self.finish(made.run.run_id, expected)

    def mirror_ingest(self):
        self.ingest(at_mirror=True)

    def retry(self):
        expected = self.model.retried()
        made = ledger.create_retry(self.engine, chunk_size=100)
        assert (made is not None) == bool(expected)
        if made:
            self.finish(made.run_id, expected)

    def move(self):
        archive = self.random.choice(list(ADDRESSES))
        old = ADDRESSES[archive][self.address[archive]]
        self.address[archive] = 1 - self.address[archive]
        new = ADDRESSES[archive][self.address[archive]]
        products = self.model.move(old, new)
        if products:
            assert self.story.move_archive(old, new).products == products

    def threshold(self):
        code, value = self.random.choice(CODES), self.random.choice([0.1, 0.9, 0.95])
        set_threshold(self.engine, code, value)
        self.model.thresholds[self.model.current, code] = value

    def promotion(self):
        self.model.current = self.random.choice(CLASSIFIERS)
        classifiers.promote(self.engine, self.model.current)

    def do(self, step):
        before, rows, outcomes = self.state(), self.shown(), self.outcomes()
        getattr(self, step)()
        assert self.shown() == self.model.shown()
        assert self.state() == {
            name: (known.source, known.row.url, known.withdrawn, known.superseded)
            for name, known in self.model.products.items()
        }
        assert self.outcomes() == {
            key: (outcome.scores and outcome.scores[: len(CODES)], outcome.reason)
            for key, outcome in self.model.outcomes.items()
        }
        self.check_traces(step, rows)
        self.check_scores(before, outcomes)
        if "mirror" in step:
            self.check_mirror(before)
        latest = self.latest_run()
        self.check_runs(range(max(1, latest - 4), latest + 1))

    def state(self):
        return {row[0]: tuple(row[1:]) for row in self.story.rows(PRODUCTS)}

    def outcomes(self):
        """Return the scores of the first classes, or the reason of a failure, by key."""
        return {
            tuple(row[:2]): (row[2] and tuple(row[2]), row[3]) for row in self.story.rows(OUTCOMES)
        }

    def shown(self):
        return set(self.story.rows(HITS))

    def check_traces(self, step, before):
        """No row leaves the search or changes without a trace, except for a better one."""
        history = Counter({tuple(row[:2]): row[2] for row in self.story.rows(HISTORY)})
        moves = Counter(dict(self.story.rows(MOVES)))
        assert (history, moves) == (+self.model.history, +self.model.moves)
        presentable = self.model.presentable()
        for name, _, _ in before - self.shown():
            is_traced = moves[name] > self.moves[name] or any(
                history[name, each] > self.history[name, each] for each in CLASSIFIERS
            )
            has_rival = any(exposure(each) == exposure(name) != each for each in presentable)
            assert step in ("threshold", "promotion") or is_traced or has_rival, name
        self.history, self.moves = history, moves

    def check_scores(self, before, outcomes):
        """Scores of the archive that has a product are replaced by no other archive's."""
        after, now = self.state(), self.outcomes()
        for (name, classifier), (scores, _) in outcomes.items():
            archive = archive_of(before[name][0])
            has_moved_on = archive == "own" or archive_of(after[name][0]) != archive
            if scores and not has_moved_on and set(scores) <= set(SCORES[archive]):
                scores_now, reason = now[name, classifier]
                assert reason == "not found" or set(scores_now) <= set(SCORES[archive])

    def check_mirror(self, before):
        """What an archive listed is as it was, but for a mark that a higher version is known."""
        after = self.state()
        for name, (source, url, is_withdrawn, is_superseded) in before.items():
            if not source.startswith("file:"):
                assert after[name][:3] == (source, url, is_withdrawn)
                assert after[name][3] >= is_superseded

    def latest_run(self):
        return self.story.rows("SELECT count(*) FROM run")[0][0]

    def check_runs(self, run_ids):
        """What a run did is told as before, and today's rows follow from today's outcomes."""
        for run_id in run_ids:
            told = self.tell(run_id)
            assert self.told.setdefault(run_id, told) == told
            assert ledger.reconcile(self.engine, run_id).ok, run_id

    def tell(self, run_id):
        now = ledger.progress(self.engine, run_id)
        counts = now.listed, now.kept, now.kept_failed, now.known, now.classified, now.failed
        return counts, ledger.failed_products(self.engine, run_id)


def to_outcome(name, result):
    scores, reason, is_lasting = result
    return Classified(name, scores) if scores else Failed(name, reason, "It is so.", is_lasting)


HITS = "SELECT product_id, class, image_url FROM atlas_search"
PRODUCTS = "SELECT product_id, source, image_url, withdrawn_at IS NOT NULL, superseded FROM product"
OUTCOMES = """
SELECT
    product_id, name,
    (SELECT array_agg(round(score::numeric, 2)::float) FROM unnest(scores[1:2]) AS score), reason
FROM outcome JOIN classifier ON sha256 = outcome.classifier
"""
MOVES = "SELECT product_id, count(*) FROM product_history GROUP BY 1"
HISTORY = """
SELECT product_id, name, count(*) FROM outcome_history
JOIN classifier ON sha256 = outcome_history.classifier GROUP BY 1, 2
"""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_published_follows_the_rules_after_each_step(story, seed):
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/b", 0.9, {}))
    steps = Steps(story, seed)
    for _ in range(STEPS):
        steps.do(*steps.random.choices(list(WEIGHTS), WEIGHTS.values()))
    steps.check_runs(range(1, steps.latest_run() + 1))
    assert steps.model.history
    assert steps.model.moves
