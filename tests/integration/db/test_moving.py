"""Archives that have moved: products and open runs find them at the new address, and only once."""

import pytest
import sqlalchemy as sa

from mernet.db import ledger, obstacles
from mernet.db.errors import ConnectionFailed, UnknownArchive
from mernet.db.ledger import NewRun, NotListed
from mernet.db.obstacles import ObstacleKind, Patience

OLD, NEW, BELOW = "https://old.example/mer/", "https://new.example/", "https://old.example/mer/v2/"
HOST = "https://old.example"


@pytest.fixture
def at(product):
    """Make a product as an archive lists it."""

    def at(clock, source):
        return product(clock, source=source, image_url=f"{source}{clock}.img")

    return at


def places(story, table="product"):
    return story.rows(f"SELECT source, image_url FROM {table} ORDER BY product_id, 1")


def test_what_is_below_the_new_address_stays_there_if_that_begins_with_the_old_one(story, at):
    listed = story.listed_products([at(1, OLD), at(2, BELOW)])
    elsewhere = story.listed_products([at(1, BELOW), at(3, OLD)])
    moved = story.move_archive(OLD, BELOW)
    assert (moved.products, moved.there_before) == (2, 1)
    assert places(story) == [(BELOW, f"{BELOW}{clock}.img") for clock in (1, 2, 3)]
    assert story.rows("SELECT source, image_url FROM run_product WHERE source IS NOT NULL") == [
        (BELOW, f"{BELOW}1.img")
    ]
    assert story.rows("SELECT DISTINCT unnest(sources) FROM chunk") == [(BELOW,)]
    for run_id in (listed, elsewhere):
        urls = {each.image_url for each in story.claim(run_id, 1).products}
        assert urls <= {f"{BELOW}{clock}.img" for clock in (1, 2, 3)}


@pytest.mark.parametrize("new", [NEW, BELOW])
def test_a_move_that_is_given_twice_is_made_once_and_is_no_error(story, at, new):
    story.listed_products([at(1, OLD)])
    assert story.move_archive(OLD, new).products == 1
    before = places(story), story.rows("SELECT * FROM product_history")
    assert story.move_archive(OLD, new).products == 0
    assert (places(story), story.rows("SELECT * FROM product_history")) == before


def test_a_move_that_was_taken_back_is_made_again(story, at):
    story.listed_products([at(1, OLD)])
    for old, new in ((OLD, NEW), (NEW, OLD), (OLD, NEW)):
        assert story.move_archive(old, new).products == 1
    assert places(story) == [(NEW, f"{NEW}1.img")]


@pytest.fixture
def lose_answer_to_commit(story, monkeypatch):
    """Commit the next transaction, but lose the connection before the answer comes."""

    def lose():
        commit = story.engine.dialect.do_commit

        def commit_and_lose(connection):
            monkeypatch.undo()
            commit(connection)
            raise sa.exc.OperationalError("COMMIT", None, Exception("the connection was lost"))

        monkeypatch.setattr(story.engine.dialect, "do_commit", commit_and_lose)

    return lose


def test_a_move_is_not_made_twice_if_the_answer_to_its_commit_is_lost(
    story, at, lose_answer_to_commit
):
    story.listed_products([at(1, BELOW), at(2, f"{BELOW}v2/")])
    lose_answer_to_commit()
    with pytest.raises(ConnectionFailed, match="the connection was lost"):
        story.move_archive(BELOW, OLD)
    assert places(story) == [(OLD, f"{OLD}1.img"), (BELOW, f"{BELOW}2.img")]


def test_a_move_that_a_deadlock_has_undone_is_made_again(story, at):
    story.listed_products([at(1, OLD)])
    story.execute(
        "CREATE SEQUENCE tries; CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN IF nextval('tries') = 1 THEN RAISE SQLSTATE '40P01'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER deadlock BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION deadlock()"
    )
    try:
        assert story.move_archive(OLD, NEW).products == 1
    finally:
        story.execute(
            "DROP TRIGGER deadlock ON product; DROP FUNCTION deadlock; DROP SEQUENCE tries"
        )


def waiting_run(story, *archives, **options):
    """A run whose first archive's host is down."""
    run_id = ledger.create_run(story.engine, NewRun(archives=archives, **options)).run_id
    claim(story, run_id)
    let_it_wait(story, run_id, archives)
    assert claim(story, run_id) is None
    return run_id


def claim(story, run_id, claimant="lister"):
    return ledger.claim_listing(story.engine, run_id, claimant, 600, 3)


def let_it_wait(story, run_id, archives):
    wait = (ObstacleKind.ARCHIVE_HOST, HOST)
    obstacles.report(story.engine, *wait, "It is down.", Patience(300, 300))
    return ledger.record_not_listed(
        story.engine, run_id, "lister", NotListed(tuple(archives), waits=(wait,))
    )


def test_a_run_that_waits_to_be_listed_at_the_old_address_is_listed_at_the_new_one(story):
    run_id = waiting_run(story, f"{OLD}volume/", f"{OLD}index.tab", "https://other.example/")
    assert story.move_archive(OLD, NEW).runs == (run_id,)
    listed = claim(story, run_id)
    assert listed.unlisted == (f"{NEW}volume/", f"{NEW}index.tab", "https://other.example/")
    assert listed.archives == listed.unlisted


def test_a_run_that_is_to_be_listed_by_a_name_is_listed_at_the_new_address(story):
    run_id = waiting_run(story, "opportunity", "spirit")
    story.move_archive("https://planetarydata.jpl.nasa.gov/img/data/mer/spirit/", NEW)
    assert claim(story, run_id).unlisted == ("opportunity", f"{NEW}mer2po_0xxx/")


def test_a_run_reads_its_mirror_at_the_new_address(story):
    run_id = waiting_run(story, "opportunity", mirror=f"{OLD}copy")
    assert story.move_archive(OLD, NEW).runs == (run_id,)
    listed = claim(story, run_id)
    assert (listed.unlisted, listed.mirror) == (("opportunity",), f"{NEW}copy")


def test_who_lists_the_old_address_while_the_archive_moves_cannot_bring_it_back(story):
    archive = f"{OLD}volume/"
    run_id = ledger.create_run(story.engine, NewRun(archives=(archive,))).run_id
    claim(story, run_id)
    story.move_archive(OLD, NEW)
    assert not let_it_wait(story, run_id, [archive])
    assert not ledger.report_rows(story.engine, run_id, "lister", 1)
    assert claim(story, run_id, "another").unlisted == (f"{NEW}volume/",)


def test_runs_over_other_archives_and_ended_ones_stay_as_they_are(story):
    other = waiting_run(story, "https://other.example/", f"{OLD}../elsewhere/")
    ended = ledger.create_run(story.engine, NewRun(archives=(OLD,))).run_id
    ledger.cancel_run(story.engine, ended)
    before = story.rows("SELECT * FROM run ORDER BY run_id")
    with pytest.raises(UnknownArchive):
        story.move_archive(f"{OLD}volume/", NEW)
    assert story.rows("SELECT * FROM run ORDER BY run_id") == before
    assert claim(story, other) is None


def test_a_chunk_whose_worker_met_the_old_host_while_the_archive_moved_waits_for_nothing(story, at):
    run_id = story.listed_products([at(1, OLD)])
    story.claim(run_id, 1)
    story.move_archive(OLD, NEW)
    wait = (ObstacleKind.ARCHIVE_HOST, HOST)
    obstacles.report(story.engine, *wait, "It is down.", Patience(300, 300))
    assert ledger.postpone(story.engine, run_id, 1, "worker", *wait, [OLD])
    assert obstacles.current(story.engine) == []
    assert story.claim(run_id, 1).products == (at(1, NEW),)
