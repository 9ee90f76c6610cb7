"""Own images after their folder or a file has moved, and beside copies of them."""

import shutil

import pytest

from fixtures.index_volume import Volume, name
from fixtures.products import write_pds3_product
from mernet.db import ledger
from mernet.db.ledger import NewRun
from mernet.pds.fetch import Fetcher
from mernet.worker.ingest import ingest
from mernet.worker.listing import record_products


@pytest.fixture
def folder(tmp_path):
    """A folder with a product, beside another folder."""
    folder = tmp_path / "a" / "images"
    folder.mkdir(parents=True)
    (folder.parent / "others").mkdir()
    write_pds3_product(folder)
    return folder


@pytest.fixture(params=["run full", "run new"])
def classify(request, story):
    """List a folder as `run full` or `run new` does, and classify what is to be classified."""

    def run(folder, reclassify=False):
        new = NewRun(archives=(str(folder),), reclassify=reclassify)
        with Fetcher() as fetcher:
            if request.param == "run new":
                made = ingest(story.engine, new, fetcher).run
                run_id = made and made.run_id
            else:
                run_id = ledger.create_run(story.engine, new).run_id
                record_products(story.engine, run_id, "lister", fetcher, 600)
        if run_id and story.rows("SELECT FROM chunk WHERE run_id = :run_id", run_id=run_id):
            assert story.publish(run_id, 1)

    return run


def own(story):
    return story.rows("SELECT image_url, source FROM product JOIN outcome USING (product_id)")


def places(folder):
    [file] = [path for path in folder.rglob("*") if path.is_file()]
    return [(file.as_uri(), f"{folder.as_uri()}/")]


def test_classified_images_are_where_their_folder_is_now(story, classify, folder, tmp_path):
    classify(folder)
    outcomes = story.rows("SELECT * FROM outcome")
    moved = shutil.move(folder, tmp_path / "b")
    classify(moved)
    assert own(story) == places(moved)
    assert story.rows("SELECT * FROM outcome") == outcomes
    classify(shutil.move(moved, folder))
    assert own(story) == places(folder)
    assert len(story.rows("SELECT FROM product_history")) == 2


def test_a_classified_image_is_where_it_is_now_in_its_folder(story, classify, folder):
    classify(folder)
    (file,) = folder.iterdir()
    (folder / "inner").mkdir()
    file.rename(folder / "inner" / file.name)
    classify(folder)
    assert own(story) == places(folder)


@pytest.mark.parametrize("place", ["a/copy", "a/images/0"])
def test_a_copy_changes_nothing_while_the_first_file_is_there(
    story, classify, folder, tmp_path, place
):
    classify(folder)
    before = story.rows("SELECT * FROM product")
    (file,) = folder.iterdir()
    copy = tmp_path / place
    copy.mkdir()
    (copy / file.name).write_bytes(file.read_bytes()[:8000])
    listed = folder if copy.parent == folder else copy
    for reclassify in (False, True):
        classify(listed, reclassify)
    assert story.rows("SELECT * FROM product") == before


def test_a_folder_that_cannot_be_looked_into_has_not_moved(story, classify, folder, tmp_path):
    classify(folder)
    before = own(story)
    copy = shutil.copytree(folder, tmp_path / "b")
    story.execute("UPDATE product SET image_url = 'file://elsewhere/1.img'")
    classify(copy)
    assert own(story) == [("file://elsewhere/1.img", before[0][1])]


def test_files_of_a_disk_that_is_not_mounted_have_not_moved(story, classify, folder, tmp_path):
    classify(folder)
    before = own(story)
    copy = shutil.copytree(folder, tmp_path / "b")
    (file,) = folder.iterdir()
    file.unlink()  # the empty folder is the mount point
    for reclassify in (False, True):
        classify(copy, reclassify)
    assert own(story) == before
    folder.rmdir()
    classify(copy)
    assert own(story) == places(copy)


def test_what_an_archive_on_disk_has_is_moved_by_the_operator_only(story, tmp_path):
    volume = Volume(tmp_path / "a" / "volume")
    volume.lists(name(1))
    for place in ("a", "b"):
        run_id = ledger.create_run(
            story.engine, NewRun(archives=(str(tmp_path / place / "volume"),))
        ).run_id
        with Fetcher() as fetcher:
            record_products(story.engine, run_id, "lister", fetcher, 600)
        if place == "a":
            assert story.publish(run_id, 1)
            (tmp_path / "a").rename(tmp_path / "b")
    old, new = (f"{(tmp_path / place).as_uri()}/" for place in "ab")
    [[before]] = story.rows("SELECT image_url FROM product")
    assert before.startswith(old)
    story.move_archive(old, new)
    assert story.rows("SELECT image_url FROM product") == [(before.replace(old, new),)]
