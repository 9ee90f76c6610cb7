"""Ingest over HTTP: listed only when it has changed, one at a time, nothing lost on the way."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import ledger
from db.ledger import NewRun
from demo import pds4
from demo.server import serve
from pds.errors import BadIndexError, NotFoundError
from pds.fetch import Fetcher
from worker.ingest import BUSY, UNCHANGED, ingest

LABEL = "\r\n".join(
    [
        "PDS_VERSION_ID = PDS3",
        '^INDEX_TABLE = "EDRINDEX.TAB"',
        "OBJECT = INDEX_TABLE",
        *(
            f"OBJECT = COLUMN\r\nNAME = {name}\r\nEND_OBJECT = COLUMN"
            for name in ("PATH_NAME", "FILE_NAME", "LINES", "LINE_SAMPLES")
        ),
        "END_OBJECT = INDEX_TABLE",
        "END\r\n",
    ]
)


def name(clock: int, version: int = 1) -> str:
    return f"1P{clock:09d}EFF0000P2600L2M{version}"


class Volume:
    """A volume whose index lists the products it is told to."""

    def __init__(self, folder: Path) -> None:
        self.index = folder / "index"
        self.index.mkdir(parents=True)
        self.times = itertools.count(1_000_000_000, 60)
        self.write("edrindex.lbl", LABEL)

    def write(self, file: str, text: str) -> None:
        path = self.index / file
        path.write_text(text, newline="")
        moment = next(self.times)  # servers tell the time of a change in whole seconds
        os.utime(path, (moment, moment))

    def lists(self, *names: str) -> None:
        rows = (f'"/volume/data/"\t"{each.lower()}.img"\t1024\t1024\r\n' for each in names)
        self.write("edrindex.tab", "".join(rows))


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "volume")
    volume.lists(name(1), name(2), name(3))
    return volume


@pytest.fixture
def url(tmp_path: Path, volume: Volume) -> Iterator[str]:
    with serve(tmp_path) as url:
        yield f"{url}volume/"


@pytest.fixture
def look(story, url):
    """One ingest; gives its report."""

    def look(*archives, products="edr"):
        with Fetcher(attempts=1) as fetcher:
            wanted = NewRun(archives=archives or (url,), products=products)
            return ingest(story.engine, wanted, fetcher)

    return look


def taken_up(story, report):
    sql = "SELECT product_id FROM run_product WHERE run_id = :run_id"
    return {name for (name,) in story.rows(sql, run_id=report.run.run_id)}


def test_the_first_look_takes_up_everything_and_says_so(story, look, url):
    report = look()
    assert taken_up(story, report) == {name(1), name(2), name(3)}
    assert report.sentence == "Run 1 takes up 3 new products; 0 listed before are withdrawn."
    assert report.run.archives == (url,)
    assert (report.run.rows_read, report.run.left_out) == (3, {})


def test_an_index_that_has_not_changed_is_not_listed(story, look, monkeypatch):
    look()
    monkeypatch.setattr("worker.ingest.list_products", None)
    report = look()
    assert (report.run, report.sentence) == (None, UNCHANGED)


def test_only_what_is_new_is_taken_up(story, look, volume):
    look()
    volume.lists(name(1), name(2, version=2), name(4))
    report = look()
    assert taken_up(story, report) == {name(2, version=2), name(4)}
    assert report.withdrawn == 1
    withdrawn = story.rows("SELECT product_id FROM product WHERE withdrawn_at IS NOT NULL")
    assert withdrawn == [(name(3),)]


def test_a_changed_index_with_nothing_new_makes_no_run_and_is_then_known(story, look, volume):
    look()
    volume.lists(name(3), name(2), name(1))
    report = look()
    assert report.run is None
    assert "nothing in it is new" in report.sentence
    assert look().sentence == UNCHANGED


def test_a_changed_label_is_a_changed_listing(look, volume):
    look()
    volume.write("edrindex.lbl", f"{LABEL}\r\n")
    assert "The listing has changed" in look().sentence


def test_of_two_at_once_the_second_does_nothing(story, look):
    with ledger.exclusive(story.engine, "ingest") as alone:
        assert alone
        report = look()
    assert (report.run, report.sentence) == (None, BUSY)
    assert look().run is not None


def test_an_archive_that_cannot_be_listed_is_told_and_loses_nothing(story, look, volume):
    look()
    volume.write("edrindex.tab", "<html>Down for maintenance</html>\r\n")
    with pytest.raises(BadIndexError, match="check that label and table belong together"):
        look()
    assert story.rows("SELECT count(*) FROM product WHERE withdrawn_at IS NOT NULL") == [(0,)]
    volume.lists(name(1), name(2), name(3), name(4))
    assert taken_up(story, look()) == {name(4)}


def test_an_index_that_is_gone_withdraws_nothing(story, look, volume):
    look()
    (volume.index / "edrindex.tab").unlink()
    with pytest.raises(NotFoundError):
        look()
    assert story.rows("SELECT count(*) FROM product WHERE withdrawn_at IS NOT NULL") == [(0,)]


def test_of_two_archives_only_the_changed_one_is_listed(story, look, volume, url, tmp_path):
    other = Volume(tmp_path / "other")
    other.lists(name(11), name(12))
    both = (url, url.replace("volume", "other"))
    assert len(taken_up(story, look(*both))) == 5
    other.lists(name(11), name(13))
    report = look(*both)
    assert taken_up(story, report) == {name(13)}
    assert report.run.rows_read == 2
    withdrawn = story.rows("SELECT product_id FROM product WHERE withdrawn_at IS NOT NULL")
    assert withdrawn == [(name(12),)]


def test_an_archive_named_twice_is_looked_at_once(story, look, url):
    assert look(url, url).run.rows_read == 3


def test_products_that_a_full_run_listed_are_not_new(story, look, volume, url, monkeypatch):
    from worker.listing import record_products

    full = ledger.create_run(story.engine, NewRun(archives=(url,)))
    with Fetcher(attempts=1) as fetcher:
        record_products(story.engine, full.run_id, "lister", fetcher, lease_seconds=600)
    volume.lists(name(1), name(2), name(4))
    report = look()
    assert taken_up(story, report) == {name(4)}
    assert report.withdrawn == 1


def test_a_collection_with_a_label_missing_is_listed_again(story, look, tmp_path):
    pds4.write_bundle(tmp_path / "pds4", 11)
    label = min((tmp_path / "pds4").rglob("2p*l2*.xml"))
    whole = label.read_bytes()
    label.unlink()
    assert len(taken_up(story, look(str(tmp_path / "pds4"), products="rdr"))) == 11
    label.write_bytes(whole)
    later = look(str(tmp_path / "pds4"), products="rdr")
    assert taken_up(story, later) == {label.stem.upper().replace("__", "##")}
    assert look(str(tmp_path / "pds4"), products="rdr").sentence == UNCHANGED


def test_a_folder_on_disk_is_listed_at_every_look(story, look, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing to see")
    assert "nothing in it is new" in look(str(folder)).sentence
    assert "nothing in it is new" in look(str(folder)).sentence
