"""Runs: creating, listing, progress, cancelling, retrying."""

import pytest

from mernet.db import classifiers, ledger
from mernet.db.errors import (
    ListingRefused,
    NoRuns,
    RunClosed,
    RunRefused,
    UnknownClassifier,
    UnknownRun,
)
from mernet.db.ledger import LeftOutCount, NewRun, NotListed, RunKind, RunState
from mernet.db.publish import Classified, Failed

NEW = NewRun(archives=("opportunity", "/data"), mirror="http://mirror", products="any")
SCORES = [0.5] * 25
GONE = NotListed(error="The index is gone.")


def member_chunks(story, run_id):
    return dict(
        story.rows(
            "SELECT product_id, chunk_number FROM run_product WHERE run_id = :run_id",
            run_id=run_id,
        )
    )


def test_a_new_run_waits_to_be_listed_under_the_current_classifier(story):
    run = ledger.create_run(story.engine, NEW)
    assert (run.kind, run.state) == (RunKind.FULL, RunState.LISTING)
    assert (run.archives, run.mirror, run.products) == (
        ("opportunity", "/data"),
        "http://mirror",
        "any",
    )
    assert run.classifier == "a" * 64
    assert ledger.get_run(story.engine, run.run_id) == run


def test_a_run_without_a_current_classifier_is_refused(engine):
    with pytest.raises(UnknownClassifier):
        ledger.create_run(engine, NEW)
    assert ledger.list_runs(engine) == []


@pytest.mark.parametrize(
    "wrong", [{"archives": ()}, {"products": "all"}, {"chunk_size": 0}], ids=str
)
def test_a_run_with_impossible_values_is_refused(story, wrong):
    with pytest.raises(RunRefused, match="give at least one archive"):
        ledger.create_run(story.engine, NewRun(**{"archives": ("sample",)} | wrong))
    assert ledger.list_runs(story.engine) == []


def test_without_a_number_the_latest_run_is_returned(story):
    with pytest.raises(NoRuns, match="No run has been created yet"):
        ledger.get_run(story.engine)
    first, second = (ledger.create_run(story.engine, NEW) for _ in range(2))
    assert ledger.get_run(story.engine) == second
    assert ledger.list_runs(story.engine) == [second, first]
    with pytest.raises(UnknownRun, match="Run 99 does not exist"):
        ledger.get_run(story.engine, 99)


def test_a_listing_is_claimed_by_one_claimant_and_counts_lost_ones(story):
    run_id = ledger.create_run(story.engine, NEW).run_id
    assert ledger.claim_listing(story.engine, run_id, "one", 600, 3).attempts == 1
    assert ledger.claim_listing(story.engine, run_id, "two", 600, 3) is None
    story.lose_claims()
    assert ledger.claim_listing(story.engine, run_id, "two", 600, 3).attempts == 2


def test_a_message_to_list_that_is_delivered_again_and_again_is_not_an_attempt(story):
    run_id = ledger.create_run(story.engine, NEW).run_id
    assert ledger.claim_listing(story.engine, run_id, "first delivery", 600, 3)
    for delivery in range(9):
        assert ledger.claim_listing(story.engine, run_id, f"delivery {delivery}", 600, 3) is None
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.attempts) == (RunState.LISTING, 1)


def test_a_claim_whose_answer_was_lost_is_repeated_without_counting_again(story):
    run_id = ledger.create_run(story.engine, NEW).run_id
    for _ in range(4):
        assert ledger.claim_listing(story.engine, run_id, "one", 600, 3).attempts == 1


def test_who_lost_a_listing_can_neither_record_nor_fail_it(story, product):
    run_id = ledger.create_run(story.engine, NEW).run_id
    ledger.claim_listing(story.engine, run_id, "stopped", 600, 3)
    story.lose_claims()
    ledger.claim_listing(story.engine, run_id, "other", 600, 3)
    assert not ledger.record_listing(story.engine, run_id, "stopped", [product(1)], {})
    assert not ledger.record_not_listed(story.engine, run_id, "stopped", GONE)
    assert ledger.get_run(story.engine, run_id).state is RunState.LISTING
    assert ledger.record_listing(story.engine, run_id, "other", [product(2)], {})
    assert not ledger.record_not_listed(story.engine, run_id, "stopped", GONE)
    assert ledger.get_run(story.engine, run_id).state is RunState.RUNNING


@pytest.mark.parametrize("counted", [True, False])
def test_who_lost_a_listing_cannot_give_it_back(story, product, counted):
    run_id = ledger.create_run(story.engine, NEW).run_id
    ledger.claim_listing(story.engine, run_id, "stopped", 600, 3)
    story.lose_claims()
    ledger.claim_listing(story.engine, run_id, "other", 600, 3)
    held = "SELECT claimed_by, attempts, sent_at FROM run"
    before = story.rows(held)
    assert not ledger.release_listing(story.engine, run_id, "stopped", counted=counted)
    assert story.rows(held) == before
    assert ledger.record_listing(story.engine, run_id, "other", [product(1)], {})


def test_a_listing_whose_claimant_is_silent_goes_to_another_for_good(story):
    run_id = ledger.create_run(story.engine, NEW).run_id
    ledger.claim_listing(story.engine, run_id, "one", 600, 3)
    assert ledger.report_rows(story.engine, run_id, "one", 1000)
    assert ledger.get_run(story.engine).rows_read == 1000
    story.execute("UPDATE run SET last_heartbeat_at = now() - interval '601 seconds'")
    assert ledger.claim_listing(story.engine, run_id, "two", 600, 3) is not None
    assert not ledger.report_rows(story.engine, run_id, "one", 2000)
    assert ledger.get_run(story.engine).rows_read == 1000


def test_a_heartbeat_extends_the_lease_of_a_listing(story):
    run_id = ledger.create_run(story.engine, NEW).run_id
    ledger.claim_listing(story.engine, run_id, "one", 600, 3)
    story.execute("UPDATE run SET last_heartbeat_at = now() - interval '601 seconds'")
    ledger.report_rows(story.engine, run_id, "one", 1000)
    assert ledger.claim_listing(story.engine, run_id, "two", 600, 3) is None


def lose_listers(story, run_id):
    for claimant in ("one", "two", "three"):
        assert ledger.claim_listing(story.engine, run_id, claimant, 600, 3) is not None
        story.lose_claims()
    assert ledger.claim_listing(story.engine, run_id, "four", 600, 3) is None


def test_a_listing_that_never_ends_fails_its_run_with_a_reason(story):
    run_id = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    lose_listers(story, run_id)
    run = ledger.get_run(story.engine, run_id)
    assert run.state is RunState.FAILED
    assert "3 workers ended, hung or had too little memory while they listed this run" in run.error


def test_an_archive_that_ends_all_who_list_it_is_given_up_and_the_others_are_listed(story, product):
    run_id = ledger.create_run(story.engine, NEW).run_id
    lose_listers(story, run_id)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.unlisted) == (RunState.LISTING, ("/data",))
    assert ledger.stale(story.engine, 600, 600) == [(run_id, None)]
    story.list_run(run_id, [product(1)])
    assert story.publish(run_id, 1)
    run = ledger.get_run(story.engine, run_id)
    assert run.state is RunState.FAILED
    assert (
        "3 workers ended, hung or had too little memory while they listed the archive opportunity"
        in run.error
    )


def record_part(story, run_id, products, archives=(), error=None, **options):
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    not_listed = NotListed(archives, error)
    return ledger.record_listing(
        story.engine, run_id, "lister", products, {}, not_listed, **options
    )


def test_an_archive_that_is_listed_later_adds_its_products_and_the_run_ends_with_the_last(
    story, product
):
    run_id = ledger.create_run(story.engine, NEW).run_id
    assert record_part(story, run_id, [product(1), product(2)], ("/data",), rows_read=5)
    assert story.publish(run_id, 1)
    assert ledger.get_run(story.engine, run_id).state is RunState.RUNNING
    assert not ledger.reconcile(story.engine, run_id).ok
    assert ledger.stale(story.engine, 600, 600) == [(run_id, None)]
    assert record_part(story, run_id, [product(2), product(3)], rows_read=7)
    assert member_chunks(story, run_id) == {
        product(1).product_id: 1, product(2).product_id: 1, product(3).product_id: 2
    }  # fmt: skip
    assert ledger.get_run(story.engine, run_id).rows_read == 12
    assert story.publish(run_id, 2)
    assert ledger.get_run(story.engine, run_id).state is RunState.FINISHED
    assert ledger.reconcile(story.engine, run_id).ok


def test_a_run_whose_later_archive_cannot_be_listed_ends_as_failed_after_its_products(
    story, product
):
    run_id = ledger.create_run(story.engine, NEW).run_id
    record_part(story, run_id, [product(1)], ("/data",))
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    assert ledger.record_not_listed(story.engine, run_id, "lister", GONE)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.listing_error) == (RunState.RUNNING, "The index is gone.")
    assert story.publish(run_id, 1)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.error) == (RunState.FAILED, "The index is gone.")
    assert not ledger.reconcile(story.engine, run_id).ok


def test_an_image_of_a_folder_that_an_archive_lists_later_in_the_same_run_is_classified(
    story, product
):
    run_id = ledger.create_run(story.engine, NEW).run_id
    own = product(1, collection="own", source="file:///data/", image_url="file:///data/1.img")
    record_part(story, run_id, [own], ("opportunity",))
    assert record_part(story, run_id, [product(1, source="https://example.org/")])
    assert member_chunks(story, run_id) == {own.product_id: 2}
    assert story.claim(run_id, 1) is None
    assert story.publish(run_id, 2)
    assert ledger.get_run(story.engine, run_id).state is RunState.FINISHED


def test_a_listing_becomes_chunks_in_its_own_order(story, product):
    products = [product(clock) for clock in (5, 1, 4, 2, 3)]
    run_id = story.listed_products(products, chunk_size=2)
    assert ledger.get_run(story.engine, run_id).state is RunState.RUNNING
    chunks = member_chunks(story, run_id)
    assert [chunks[each.product_id] for each in products] == [1, 1, 2, 2, 3]


def test_recording_makes_chunks_to_send_and_stores_what_was_left_out(story, product):
    run_id = ledger.create_run(story.engine, NewRun(("sample",), chunk_size=2)).run_id
    left_out = {"thumbnail": LeftOutCount(500, tuple(f"name{index}" for index in range(500)))}
    products = [product(clock) for clock in range(3)]
    assert story.list_run(run_id, iter(products), left_out)
    assert ledger.take_unsent(story.engine, run_id, 99) == [1, 2]
    kept = ledger.get_run(story.engine, run_id).left_out["thumbnail"]
    assert kept == LeftOutCount(500, tuple(f"name{index}" for index in range(20)))


def test_a_left_out_name_that_postgres_cannot_store_does_not_fail_the_listing(story):
    run_id = ledger.create_run(story.engine, NEW).run_id
    left_out = {"bad name": LeftOutCount(1, ("1P\0\udc80",))}
    story.list_run(run_id, [], left_out)
    assert ledger.get_run(story.engine, run_id).left_out["bad name"].examples == ("1P??",)


def test_recording_twice_changes_nothing(story, product):
    run_id = story.listed(count=4, chunk_size=2)
    before = member_chunks(story, run_id)
    assert not story.list_run(run_id, [product(9)])
    assert member_chunks(story, run_id) == before


def test_a_product_listed_twice_is_stored_as_it_was_listed_first(story, product):
    run_id = story.listed_products([product(1, sol=7), product(2), product(1, sol=8)], chunk_size=2)
    assert len(member_chunks(story, run_id)) == 2
    assert story.rows("SELECT sol FROM product ORDER BY product_id LIMIT 1") == [(7,)]


def test_every_fact_of_a_product_comes_back_as_it_was_listed(story, product):
    odd = product(
        1,
        sol=None,
        site=None,
        start_time=None,
        local_solar_time=None,
        image_url='file:///a "quoted", comma/ü\\N.img',
        label_url="file:///label\nwith a new line",
    )
    claimed = story.claim(story.listed_products([odd, product(2)]), 1)
    assert claimed.products == (odd, product(2))


def test_only_a_product_that_differs_is_written_again(story, product):
    story.listed_products([product(1), product(2)])
    before = dict(story.rows("SELECT product_id, listed_at FROM product"))
    story.listed_products([product(1), product(2, image_url="https://example.org/moved.img")])
    after = dict(story.rows("SELECT product_id, listed_at FROM product"))
    changed = [name for name in after if after[name] != before[name]]
    assert changed == [product(2).product_id]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"lines": 0}, "product_lines_check"),
        ({"sol": -1}, "product_sol_check"),
        ({"sol": 99999999999}, '"99999999999" is out of range'),
        ({"sequence": "P2\0"}, "invalid byte sequence"),
        ({"rover": None}, "not-null"),
    ],
    ids=str,
)
def test_a_product_that_breaks_a_rule_refuses_the_whole_listing_and_is_named(
    story, product, wrong, why
):
    run_id = ledger.create_run(story.engine, NEW).run_id
    products = [product(1, label_url="of two\nlines"), product(2, **wrong), product(3)]
    with pytest.raises(ListingRefused, match=f"because of {product(2).product_id} .*{why}"):
        story.list_run(run_id, products, {})
    assert story.rows("SELECT count(*) FROM product") == [(0,)]
    assert ledger.get_run(story.engine, run_id).state is RunState.LISTING


def test_a_listing_without_products_finishes_its_run(story):
    run_id = story.listed_products([])
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.finished_at is not None) == (RunState.FINISHED, True)


def test_a_second_run_classifies_only_new_products(story, product):
    story.classified([product(1), product(2)], SCORES)
    run_id = story.listed_products([product(1), product(2), product(3)])
    assert member_chunks(story, run_id) == {
        product(1).product_id: None,
        product(2).product_id: None,
        product(3).product_id: 1,
    }
    progress = ledger.progress(story.engine, run_id)
    assert (progress.listed, progress.kept, progress.waiting) == (3, 2, 1)


def test_a_second_run_over_the_same_is_finished_at_once(story):
    story.publish(story.listed(count=4), 1)
    run_id = story.listed(count=4)
    assert ledger.get_run(story.engine, run_id).state is RunState.FINISHED
    assert ledger.reconcile(story.engine, run_id).ok


def test_a_run_can_reclassify_all_products(story):
    story.publish(story.listed(count=4), 1)
    run_id = story.listed(count=4, reclassify=True)
    assert set(member_chunks(story, run_id).values()) == {1}


def test_another_classifier_classifies_all_products(story):
    story.publish(story.listed(count=4), 1)
    classifiers.add(story.engine, classifiers.NewClassifier("b" * 64, "second", "/b", 0.9, {}))
    classifiers.promote(story.engine, "second")
    run_id = story.listed(count=4)
    assert set(member_chunks(story, run_id).values()) == {1}
    assert story.claim(run_id, 1).classifier == "b" * 64


def fail_three_of_four(story):
    run_id = story.listed(count=4)
    names = [product.product_id for product in story.claim(run_id, 1).products]
    outcomes = [
        Classified(names[0], SCORES),
        Failed(names[1], "not found", "It is gone."),
        Failed(names[2], "truncated", "It is short."),
        Failed(names[3], "truncated", "It is short."),
    ]
    assert story.settle(run_id, 1, outcomes)
    return run_id, names


def test_progress_counts_the_outcomes_of_a_run(story):
    run_id, _ = fail_three_of_four(story)
    progress = ledger.progress(story.engine)
    assert progress.run.run_id == run_id
    assert (progress.listed, progress.classified, progress.failed, progress.waiting) == (4, 1, 3, 0)
    assert list(progress.failures.items()) == [("truncated", 2), ("not found", 1)]
    assert progress.chunks == {"done": 1}


def test_a_retry_holds_the_failed_products_and_is_ready_to_send(story):
    _, names = fail_three_of_four(story)
    retry = ledger.create_retry(story.engine, chunk_size=2)
    assert (retry.kind, retry.state) == (RunKind.RETRY, RunState.RUNNING)
    assert sorted(member_chunks(story, retry.run_id)) == names[1:]
    assert ledger.take_unsent(story.engine, retry.run_id, 99) == [1, 2]


def test_a_retry_can_be_of_one_reason(story):
    _, names = fail_three_of_four(story)
    retry = ledger.create_retry(story.engine, reason="not found")
    assert list(member_chunks(story, retry.run_id)) == [names[1]]


def test_a_retry_leaves_out_versions_that_a_newer_one_supersedes(story, product):
    old, new, other = product(1, "1"), product(1, "2"), product(2, "1")
    for listed in ([old, other], [new]):
        run_id = story.listed_products(listed)
        gone = [Failed(each.product_id, "not found", "It is gone.") for each in listed]
        assert story.settle(run_id, 1, gone)
    retry = ledger.create_retry(story.engine)
    assert set(member_chunks(story, retry.run_id)) == {new.product_id, other.product_id}
    assert story.publish(retry.run_id, 1)
    assert ledger.reconcile(story.engine, retry.run_id).ok


def test_without_a_failure_there_is_no_retry(story):
    assert ledger.create_retry(story.engine) is None
    assert ledger.list_runs(story.engine, limit=1) == []


def test_a_retry_that_succeeds_leaves_nothing_to_retry(story):
    fail_three_of_four(story)
    retry = ledger.create_retry(story.engine)
    assert story.publish(retry.run_id, 1)
    assert ledger.get_run(story.engine, retry.run_id).state is RunState.FINISHED
    assert story.rows("SELECT DISTINCT state, reason FROM outcome") == [("classified", None)]
    assert ledger.create_retry(story.engine) is None


@pytest.mark.parametrize("listed", [False, True], ids=["listing", "running"])
def test_an_open_run_can_be_cancelled_once_and_for_all(story, listed):
    run_id = story.listed() if listed else ledger.create_run(story.engine, NEW).run_id
    assert ledger.cancel_run(story.engine, run_id).state is RunState.CANCELLED
    assert ledger.cancel_run(story.engine, run_id).state is RunState.CANCELLED
    assert ledger.claim_listing(story.engine, run_id, "one", 600, 3) is None
    assert story.claim(run_id, 1) is None
    assert ledger.stale(story.engine, 0, 0) == []


def test_a_run_cancelled_while_it_was_listed_records_nothing(story, product):
    run_id = ledger.create_run(story.engine, NEW).run_id
    ledger.claim_listing(story.engine, run_id, "one", 600, 3)
    ledger.cancel_run(story.engine, run_id)
    assert not ledger.report_rows(story.engine, run_id, "one", 1)
    assert not story.list_run(run_id, [product(1)])
    assert member_chunks(story, run_id) == {}


def test_a_finished_run_cannot_be_cancelled(story):
    run_id = story.listed_products([])
    with pytest.raises(RunClosed, match="is already finished"):
        ledger.cancel_run(story.engine, run_id)


def test_who_works_on_a_chunk_can_end_its_run_as_failed_once(story):
    run_id = story.listed()
    story.claim(run_id, 1, "one")
    story.claim(run_id, 2, "two")
    assert not ledger.fail_run(story.engine, run_id, 1, "two", "The other one's chunk.")
    assert ledger.get_run(story.engine, run_id).state == RunState.RUNNING
    assert ledger.fail_run(story.engine, run_id, 1, "one", "The scores are no numbers.")
    assert not ledger.fail_run(story.engine, run_id, 2, "two", "Something else.")
    failed = ledger.get_run(story.engine, run_id)
    assert (failed.state, failed.error) == (RunState.FAILED, "The scores are no numbers.")
