"""Ingest where something is wrong: told in a sentence, nothing lost, nothing withdrawn for it."""

import shutil

import pytest

from fixtures.listed import Volume, name, taken_up, withdrawn
from mernet.db import ledger
from mernet.db.errors import TooManyWithdrawn
from mernet.demo import pds4
from mernet.worker.errors import ArchivesNotListed
from mernet.worker.ingest import UNCHANGED

MANY = 1050


@pytest.fixture
def other(tmp_path, url, volume):
    """The URL of a second volume, which has one product."""
    Volume(tmp_path / "other").lists(name(11))
    return url.replace("volume", "other")


@pytest.fixture
def bundle(tmp_path):
    """A PDS4 bundle of 12 products whose inventory is read anew, since it has changed."""
    folder = tmp_path / "pds4"
    pds4.write_bundle(folder, 11)

    class Bundle:
        path = str(folder)
        (inventory,) = folder.rglob("*.csv")
        labels = sorted(folder.rglob("2p*l2*.xml"))

        def drops(self, *stems):
            rows = self.inventory.read_text().splitlines()
            kept = [row for row in rows if not any(stem in row for stem in stems)]
            self.inventory.write_text("\n".join(["", *kept]))

    return Bundle()


def product_id(label):
    return label.stem.upper().replace("__", "##")


def test_an_archive_that_cannot_be_listed_is_told_and_loses_nothing(story, look, volume):
    look()
    volume.write("edrindex.tab", "<html>Down for maintenance</html>\r\n")
    with pytest.raises(ArchivesNotListed, match="check that label and table belong together"):
        look()
    assert withdrawn(story) == []
    volume.lists(name(1), name(2), name(3), name(4))
    assert taken_up(story, look()) == {name(4)}


def test_an_index_that_is_gone_withdraws_nothing(story, look, volume):
    look()
    (volume.index / "edrindex.tab").unlink()
    with pytest.raises(ArchivesNotListed, match="edrindex"):
        look()
    assert withdrawn(story) == []


@pytest.mark.parametrize("broken", [0, 1])
def test_an_archive_that_cannot_be_listed_does_not_keep_the_others_from_being_taken_up(
    story, look, volume, url, other, broken
):
    both = [url, other]
    both[broken] += "nowhere/"
    report = look(*both)
    assert taken_up(story, report) == [{name(11)}, {name(1), name(2), name(3)}][broken]
    assert report.failure.startswith("1 of 2 archives could not be listed: ")
    assert both[broken] in report.failure


def test_an_archive_that_cannot_be_listed_to_its_end_counts_in_no_way(look, bundle, tmp_path):
    whole = shutil.copytree(bundle.path, tmp_path / "whole")
    for label in bundle.labels:
        label.unlink()
    report = look(bundle.path, str(whole), products="rdr")
    assert report.run.rows_read == len(bundle.inventory.read_text().splitlines())
    assert "label not found" not in report.run.left_out
    assert "does not exist" in report.failure


def test_where_all_else_is_unchanged_the_failure_is_told_and_no_run_is_made(look, url, other):
    look(other)
    report = look(f"{url}nowhere/", other)
    assert (report.run, report.sentence) == (
        None,
        "No listing that could be read has changed since the last check.",
    )
    assert report.failure.startswith("1 of 2 archives")


def test_a_folder_that_is_not_there_is_an_archive_that_could_not_be_listed(look, url, tmp_path):
    report = look(str(tmp_path / "unmounted"), url)
    assert report.run is not None
    assert "unmounted" in report.failure


@pytest.mark.parametrize("end", [ledger.cancel_run, lambda *run: ledger.fail_run(*run, "broken")])
def test_what_a_run_left_undone_is_taken_up_by_the_next_look_at_the_same_listing(story, look, end):
    first = look()
    assert look().sentence == UNCHANGED
    end(story.engine, first.run.run_id)
    assert taken_up(story, look()) == {name(1), name(2), name(3)}


def test_a_collection_with_a_label_missing_is_listed_again(story, look, bundle):
    label = bundle.labels[0]
    whole = label.read_bytes()
    label.unlink()
    assert len(taken_up(story, look(bundle.path, products="rdr"))) == 11
    label.write_bytes(whole)
    assert taken_up(story, look(bundle.path, products="rdr")) == {product_id(label)}
    assert look(bundle.path, products="rdr").sentence == UNCHANGED


@pytest.mark.parametrize("harm", ["missing", "unreadable"])
def test_a_listed_product_whose_label_cannot_be_had_is_not_withdrawn(story, look, bundle, harm):
    look(bundle.path, products="rdr")
    doubtful, gone, *_ = bundle.labels
    if harm == "missing":
        doubtful.unlink()
    else:
        doubtful.write_text("<html>Busy</html>")
    bundle.drops(gone.stem)
    report = look(bundle.path, products="rdr")
    assert report.sentence == ("No listed product is new; 1 marked as withdrawn.")
    assert withdrawn(story) == [product_id(gone)]


def test_a_label_alone_in_a_folder_is_no_obstacle(look, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.xml").write_text("<notes/>")
    assert "No listed product is new" in look(str(folder)).sentence


def test_a_half_written_index_is_refused_at_each_look_and_nothing_is_changed(story, look, volume):
    volume.lists(*map(name, range(MANY)))
    look()
    volume.lists(*map(name, range(MANY - 200)), name(MANY))
    for _ in range(2):
        with pytest.raises(
            TooManyWithdrawn, match=f"no longer lists 200 of its {MANY} known products"
        ):
            look()
    assert withdrawn(story) == []
    assert story.rows("SELECT count(*) FROM product") == [(MANY,)]
    report = look(withdraw_many=True)
    assert (report.withdrawn, taken_up(story, report)) == (200, {name(MANY)})
    assert look().sentence == UNCHANGED


@pytest.mark.parametrize(("before", "gone"), [(12, 2), (101, 100), (MANY, 105)])
def test_a_few_withdrawals_are_believed(look, volume, before, gone):
    volume.lists(*map(name, range(before)))
    look()
    volume.lists(*map(name, range(before - gone)))
    assert look().withdrawn == gone
