"""Failed ingests: the error is reported, nothing is lost, nothing wrongly withdrawn."""

import shutil
from contextlib import suppress

import pytest

from fixtures.index_volume import Volume, name, products_of_run, withdrawn
from mernet.db import ledger
from mernet.db.errors import ListingRefused, TooManyWithdrawn
from mernet.db.ledger import merging
from mernet.demo import pds4_bundle
from mernet.pds.archive import resolve
from mernet.pds.listing import list_products as list_products_as_usual
from mernet.worker.errors import ArchivesNotListed
from mernet.worker.ingest import UNCHANGED

MANY = 1050
ROW = '"/volume/data/"\t"{}.img"\t1024\t1024\r\n'


@pytest.fixture
def other(tmp_path, url, volume):
    """The URL of a second volume, which has one product."""
    Volume(tmp_path / "other").lists(name(11))
    return url.replace("volume", "other")


@pytest.fixture
def bundle(tmp_path):
    """A PDS4 bundle of 12 products whose inventory has changed, so it is read again."""
    folder = tmp_path / "pds4"
    pds4_bundle.write_bundle(folder, 11)

    class Bundle:
        path = str(folder)
        (inventory,) = folder.rglob("*.csv")
        labels = sorted(folder.rglob("2p*l2*.xml"))

        def drops(self, *stems):
            rows = self.inventory.read_text().splitlines()
            remaining = [row for row in rows if not any(stem in row for stem in stems)]
            self.inventory.write_text("\n".join(["", *remaining]))

    return Bundle()


def product_id(label):
    return label.stem.upper().replace("__", "##")


def test_an_archive_that_cannot_be_listed_is_an_error_and_loses_nothing(story, run_ingest, volume):
    run_ingest()
    volume.write("edrindex.tab", "<html>Down for maintenance</html>\r\n")
    with pytest.raises(ArchivesNotListed, match="answered with a web page"):
        run_ingest()
    assert withdrawn(story) == []
    volume.lists(name(1), name(2), name(3), name(4))
    assert products_of_run(story, run_ingest()) == {name(4)}


def test_a_missing_index_withdraws_nothing(story, run_ingest, volume):
    run_ingest()
    (volume.index / "edrindex.tab").unlink()
    with pytest.raises(ArchivesNotListed, match="edrindex"):
        run_ingest()
    assert withdrawn(story) == []


@pytest.mark.parametrize("broken", [0, 1])
def test_if_one_archive_cannot_be_listed_the_others_are_ingested(
    story, run_ingest, volume, url, other, broken
):
    both = [url, other]
    both[broken] += "nowhere/"
    report = run_ingest(*both)
    assert products_of_run(story, report) == [{name(11)}, {name(1), name(2), name(3)}][broken]
    assert report.failure.startswith("1 of 2 archives could not be listed: ")
    assert both[broken] in report.failure


@pytest.mark.parametrize("broken", [0, 1])
def test_if_one_archive_needs_too_much_memory_the_others_are_ingested(
    story, run_ingest, url, other, broken, monkeypatch
):
    both = [url, other]
    archive = resolve(both[broken]).url

    def list_products(archives, *args, **options):
        if archives[0].url == archive:
            raise MemoryError
        return list_products_as_usual(archives, *args, **options)

    monkeypatch.setattr("mernet.worker.faults.is_memory_left", lambda: True)
    monkeypatch.setattr("mernet.worker.ingest.list_products", list_products)
    report = run_ingest(*both)
    assert products_of_run(story, report) == [{name(11)}, {name(1), name(2), name(3)}][broken]
    assert f"To list {both[broken]} needs more memory" in report.failure


def test_nothing_is_stored_of_an_archive_that_cannot_be_listed_to_its_end(
    run_ingest, bundle, tmp_path
):
    whole = shutil.copytree(bundle.path, tmp_path / "whole")
    for label in bundle.labels:
        label.unlink()
    report = run_ingest(bundle.path, str(whole), products="rdr")
    assert report.run.rows_read == len(bundle.inventory.read_text().splitlines())
    assert "label not found" not in report.run.left_out
    assert "does not exist" in report.failure


def test_if_all_others_are_unchanged_the_failure_is_reported_and_no_run_created(
    run_ingest, url, other
):
    run_ingest(other)
    report = run_ingest(f"{url}nowhere/", other)
    assert (report.run, report.sentence) == (
        None,
        "No listing that could be read has changed since the last check.",
    )
    assert report.failure.startswith("1 of 2 archives")


def test_a_missing_folder_is_an_archive_that_could_not_be_listed(run_ingest, url, tmp_path):
    report = run_ingest(str(tmp_path / "unmounted"), url)
    assert report.run is not None
    assert "unmounted" in report.failure


def fail_run(engine, run_id):
    ledger.claim_chunk(engine, run_id, 1, "worker", 600, 3)
    assert ledger.fail_run(engine, run_id, 1, "worker", "broken")


@pytest.mark.parametrize("end", [ledger.cancel_run, fail_run])
def test_the_next_ingest_of_the_same_listing_contains_what_a_run_did_not_finish(
    story, run_ingest, end
):
    first = run_ingest()
    assert run_ingest().sentence == UNCHANGED
    end(story.engine, first.run.run_id)
    assert products_of_run(story, run_ingest()) == {name(1), name(2), name(3)}


def test_a_collection_with_a_missing_label_is_listed_again(story, run_ingest, bundle):
    label = bundle.labels[0]
    whole = label.read_bytes()
    label.unlink()
    assert len(products_of_run(story, run_ingest(bundle.path, products="rdr"))) == 11
    label.write_bytes(whole)
    assert products_of_run(story, run_ingest(bundle.path, products="rdr")) == {product_id(label)}
    assert run_ingest(bundle.path, products="rdr").sentence == UNCHANGED


@pytest.mark.parametrize("harm", ["missing", "unreadable"])
def test_a_listed_product_with_an_unreadable_label_is_not_withdrawn(
    story, run_ingest, bundle, harm
):
    run_ingest(bundle.path, products="rdr")
    doubtful, gone, *_ = bundle.labels
    if harm == "missing":
        doubtful.unlink()
    else:
        doubtful.write_text("<html>Busy</html>")
    bundle.drops(gone.stem)
    report = run_ingest(bundle.path, products="rdr")
    assert report.sentence == ("No listed product is new; 1 marked as withdrawn.")
    assert withdrawn(story) == [product_id(gone)]


def rows(*clocks):
    return "".join(ROW.format(name(clock).lower()) for clock in clocks)


DAMAGED_ROWS = {
    "cut short": f'"/volume/data/"\t"{name(3).lower()}',
    "cut in its last number": ROW.format(name(3).lower())[:-4],
    "cut in its number before": ROW.format(name(3).lower())[:-7],
    "a field too many": f'"/volume/data/"\t"{name(3).lower()}.img"\t1024\t10\t24\r\n',
    "a damaged name": f'"/volume/data/"\t"{name(3).lower().replace("p", "?")}.img"\t1024\t1024\r\n',
    "no name": '"/volume/data/"\t""\t1024\t1024\r\n',
    "a damaged folder": f'"/vol\x00/../"\t"{name(3).lower()}.img"\t1024\t1024\r\n',
    "a damaged size": f'"/volume/data/"\t"{name(3).lower()}.img"\t10x4\t1024\r\n',
    "no size": f'"/volume/data/"\t"{name(3).lower()}.img"\tN/A\t1024\r\n',
}


@pytest.mark.parametrize("row", DAMAGED_ROWS.values(), ids=DAMAGED_ROWS)
def test_a_product_whose_row_cannot_be_read_is_not_withdrawn(story, run_ingest, volume, row):
    run_ingest()
    volume.write("edrindex.tab", rows(1, 2) + row)
    assert (run_ingest().sentence, withdrawn(story)) == ("No listed product is new.", [])
    volume.lists(name(1), name(2))
    run_ingest()
    assert withdrawn(story) == [name(3)]


@pytest.mark.parametrize("damage", ["a damaged folder", "a damaged size", "no size"])
def test_a_damaged_row_that_has_a_name_protects_no_other_product(story, run_ingest, volume, damage):
    run_ingest()
    volume.write("edrindex.tab", rows(1) + DAMAGED_ROWS[damage])
    assert run_ingest().withdrawn == 1
    assert withdrawn(story) == [name(2)]


@pytest.mark.parametrize("damage", [each for each in DAMAGED_ROWS if each != "no size"])
def test_a_table_with_a_damaged_row_is_read_again_though_it_has_not_changed(
    run_ingest, volume, damage
):
    run_ingest()
    volume.write("edrindex.tab", rows(1, 2) + DAMAGED_ROWS[damage])
    run_ingest()
    assert run_ingest().sentence == "No listed product is new."
    volume.lists(name(1), name(2), name(3))
    run_ingest()
    assert run_ingest().sentence == UNCHANGED


def test_the_operator_may_withdraw_although_names_cannot_be_read(story, run_ingest, volume):
    damaged = DAMAGED_ROWS["a damaged name"]
    run_ingest()
    volume.write("edrindex.tab", rows(1) + damaged)
    assert run_ingest().withdrawn == 0
    volume.write("edrindex.tab", damaged + rows(1))
    assert run_ingest(withdraw_many=True).withdrawn == 2
    assert withdrawn(story) == [name(2), name(3)]


def test_the_names_of_other_files_do_not_keep_products_from_being_withdrawn(
    story, run_ingest, volume
):
    run_ingest()
    volume.write("edrindex.tab", rows(1, 2) + ROW.format("overview"))
    run_ingest()
    assert withdrawn(story) == [name(3)]


def test_an_inventory_cut_inside_its_last_row_withdraws_nothing(story, run_ingest, bundle):
    run_ingest(bundle.path, products="rdr")
    text = bundle.inventory.read_text().rstrip()
    for cut in range(1, len(text) - text.rindex(":data:") - 3):
        bundle.inventory.write_text(text[:-cut])
        with suppress(ArchivesNotListed):
            run_ingest(bundle.path, products="rdr")
        assert withdrawn(story) == []


def test_a_quote_too_many_in_an_inventory_withdraws_nothing(story, run_ingest, bundle):
    run_ingest(bundle.path, products="rdr")
    text = bundle.inventory.read_text()
    bundle.inventory.write_text(text.replace(",urn", ',"urn', 1))
    with pytest.raises(ArchivesNotListed, match="is not a collection inventory"):
        run_ingest(bundle.path, products="rdr")
    assert withdrawn(story) == []


def test_other_files_in_a_folder_do_not_keep_products_from_being_withdrawn(
    story, run_ingest, bundle, tmp_path
):
    folder = tmp_path / "own"
    for label in bundle.labels[:2]:
        (image,) = set(label.parent.glob(f"{label.stem}.*")) - {label}
        folder.mkdir(exist_ok=True)
        for file in (label, image):
            shutil.copy(file, folder)
    (folder / "readme.txt").write_text("See also the notes.")
    run_ingest(str(folder), products="rdr")
    for file in folder.glob(f"{bundle.labels[0].stem}.*"):
        file.unlink()
    assert run_ingest(str(folder), products="rdr").withdrawn == 1


def test_a_label_without_an_image_does_not_stop_an_ingest(run_ingest, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.xml").write_text("<notes/>")
    assert "No listed product is new" in run_ingest(str(folder)).sentence


def test_a_half_written_index_is_refused_at_each_ingest_and_nothing_is_changed(
    story, run_ingest, volume
):
    volume.lists(*map(name, range(MANY)))
    run_ingest()
    volume.lists(*map(name, range(MANY - 200)), name(MANY))
    for _ in range(2):
        with pytest.raises(
            TooManyWithdrawn, match=f"no longer lists 200 of its {MANY} known products"
        ):
            run_ingest()
    assert withdrawn(story) == []
    assert story.rows("SELECT count(*) FROM product") == [(MANY,)]
    report = run_ingest(withdraw_many=True)
    assert (report.withdrawn, products_of_run(story, report)) == (200, {name(MANY)})
    assert run_ingest().sentence == UNCHANGED


def half_written(volume):
    volume.lists(*map(name, range(MANY - 200)), name(MANY))


def test_an_archive_that_lists_far_too_few_products_does_not_keep_the_others_from_being_ingested(
    story, run_ingest, volume, url, tmp_path
):
    volume.lists(*map(name, range(MANY)))
    other = Volume(tmp_path / "other")
    other.lists(name(2001))
    both = (url, url.replace("volume", "other"))
    run_ingest(*both)
    half_written(volume)
    other.lists(name(2001), name(2002))
    for new in ({name(2002)}, None):
        report = run_ingest(*both)
        assert (products_of_run(story, report) if report.run else None) == new
        assert report.failure.startswith("1 of 2 archives could not be listed: ")
        assert f"no longer lists 200 of its {MANY} known products" in report.failure
        assert isinstance(report.not_listed.causes[0], TooManyWithdrawn)
    assert withdrawn(story) == []
    volume.lists(*map(name, range(MANY)), name(MANY))
    assert products_of_run(story, run_ingest(*both)) == {name(MANY)}


def test_an_archive_whose_product_the_ledger_refuses_does_not_keep_the_others_from_being_ingested(
    story, run_ingest, url, other, monkeypatch
):
    merge = merging.merge_into_products

    def refuse(listed, how):
        if listed.connection.exec_driver_sql(
            "SELECT count(*) FROM listed WHERE source LIKE '%%/volume/'"
        ).scalar():
            raise ListingRefused("a size is beyond all bounds", url)
        merge(listed, how)

    monkeypatch.setattr("mernet.db.ledger.ingest.merge_into_products", refuse)
    report = run_ingest(url, other)
    assert products_of_run(story, report) == {name(11)}
    assert "beyond all bounds" in report.failure


@pytest.mark.parametrize(("before", "gone"), [(12, 2), (101, 100), (MANY, 105)])
def test_a_few_withdrawals_are_accepted(run_ingest, volume, before, gone):
    volume.lists(*map(name, range(before)))
    run_ingest()
    volume.lists(*map(name, range(before - gone)))
    assert run_ingest().withdrawn == gone
