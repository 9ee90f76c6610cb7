"""Change detection: by ETag, by Last-Modified, or by the content if the server sends neither."""

import hashlib

import pytest

from mernet.pds.archive import resolve
from mernet.pds.changes import ChangeDetector, FileVersion
from mernet.pds.errors import FetchError, NotFoundError
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import list_products
from mernet.pds.selection import Selection

TABLE = "/index/edrindex.tab"
YESTERDAY = "Sat, 21 Nov 2026 08:00:00 GMT"


@pytest.fixture
def fetcher():
    with Fetcher(attempts=1) as fetcher:
        yield fetcher


@pytest.fixture
def read_versions(fetcher):
    """Opens and reads files; returns the versions that the next detector is given."""

    def read_versions(*urls, known=()):
        with ChangeDetector(fetcher, known) as detector:
            for url in urls:
                with detector.open(url) as file:
                    file.read()
        return tuple(detector.versions.values())

    return read_versions


@pytest.fixture
def is_unchanged(fetcher):
    def is_unchanged(known):
        with ChangeDetector(fetcher, known) as detector:
            return detector.is_unchanged()

    return is_unchanged


def conditional(answers, body, **headers):
    """An answer of a server that says 304 when it is asked for what it has already sent."""

    def answer(handler, asked):
        given = {
            "ETag": handler.headers.get("If-None-Match"),
            "Last_Modified": handler.headers.get("If-Modified-Since"),
        }
        same = any(headers.get(name) == value for name, value in given.items() if value)
        reply = answers(304) if same else answers(200, body, **headers)
        reply(handler, asked)

    return answer


@pytest.mark.parametrize("headers", [{"ETag": '"v1"'}, {"Last_Modified": YESTERDAY}])
def test_a_server_that_says_304_is_believed(server, answers, read_versions, is_unchanged, headers):
    url = server.on(TABLE, conditional(answers, b"rows", **headers))
    assert is_unchanged(read_versions(url))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"v1"'}, {"ETag": '"v2"'}),
        ({"Last_Modified": YESTERDAY}, {"Last_Modified": "Sun, 22 Nov 2026 08:00:00 GMT"}),
        ({}, {}),
    ],
)
def test_another_content_is_a_change(server, answers, read_versions, is_unchanged, before, after):
    url = server.on(TABLE, conditional(answers, b"rows", **before))
    known = read_versions(url)
    server.on(TABLE, conditional(answers, b"rows and more", **after))
    assert not is_unchanged(known)


def test_the_same_content_from_a_server_that_sends_neither_header_is_not_a_change(
    server, answers, read_versions, is_unchanged
):
    url = server.on(TABLE, answers(200, b"rows"))
    known = read_versions(url)
    assert known == (FileVersion(url, None, None, hashlib.sha256(b"rows").hexdigest()),)
    assert is_unchanged(known)


def test_a_new_etag_for_the_same_content_is_not_a_change_and_is_stored(
    server, answers, read_versions, fetcher
):
    url = server.on(TABLE, conditional(answers, b"rows", ETag='"v1"'))
    known = read_versions(url)
    server.on(TABLE, conditional(answers, b"rows", ETag='"other mirror"'))
    with ChangeDetector(fetcher, known) as detector:
        assert detector.is_unchanged()
        assert detector.versions[url].etag == '"other mirror"'


def test_what_was_fetched_to_see_a_change_is_not_fetched_again(
    server, answers, read_versions, fetcher
):
    url = server.on(TABLE, answers(200, b"rows"))
    known = read_versions(url)
    server.on(TABLE, answers(200, b"more rows"))
    with ChangeDetector(fetcher, known) as detector:
        assert not detector.is_unchanged()
        with detector.open(url) as file:
            assert file.read() == b"more rows"
    assert server.asked[TABLE] == 2


def test_a_file_that_the_server_called_unchanged_is_fetched_when_it_is_read(
    server, answers, read_versions, fetcher
):
    url = server.on(TABLE, conditional(answers, b"rows", ETag='"v1"'))
    with ChangeDetector(fetcher, read_versions(url)) as detector:
        assert detector.is_unchanged()
        with detector.open(url) as file:
            assert file.read() == b"rows"


def test_nothing_known_is_a_change(is_unchanged):
    assert not is_unchanged(())


def test_one_changed_file_of_two_is_a_change(server, answers, read_versions, is_unchanged):
    label = server.on("/index/edrindex.lbl", answers(200, b"label"))
    table = server.on(TABLE, answers(200, b"rows"))
    known = read_versions(label, table)
    server.on("/index/edrindex.lbl", answers(200, b"another label"))
    assert not is_unchanged(known)


def test_a_file_that_is_gone_is_a_change(server, answers, read_versions, is_unchanged):
    url = server.on(TABLE, answers(200, b"rows"))
    known = read_versions(url)
    server.on(TABLE, answers(404))
    assert not is_unchanged(known)


def test_a_server_that_is_busy_is_an_error(server, answers, read_versions, is_unchanged):
    url = server.on(TABLE, answers(200, b"rows"))
    known = read_versions(url)
    server.on(TABLE, answers(503))
    with pytest.raises(FetchError, match="answered with 503"):
        is_unchanged(known)


def test_304_for_an_unconditional_request_is_an_error(server, answers, read_versions):
    url = server.on(TABLE, answers(304))
    with pytest.raises(FetchError, match="answered with 304 instead of 200"):
        read_versions(url)


def test_files_on_disk_are_compared_by_content(tmp_path, read_versions, is_unchanged):
    table = tmp_path / "edrindex.tab"
    table.write_bytes(b"rows")
    known = read_versions(table.as_uri())
    assert is_unchanged(known)
    table.write_bytes(b"rows and more")
    assert not is_unchanged(known)


def test_the_listing_of_a_volume_reads_its_label_and_its_table(server, answers, fetcher):
    label = b'PDS_VERSION_ID = PDS3\r\n^INDEX_TABLE = "EDRINDEX.TAB"\r\nOBJECT = INDEX_TABLE\r\n'
    for column in ("PATH_NAME", "FILE_NAME", "LINES", "LINE_SAMPLES"):
        label += f"OBJECT = COLUMN\r\nNAME = {column}\r\nEND_OBJECT = COLUMN\r\n".encode()
    server.on("/v/index/edrindex.lbl", answers(200, label + b"END_OBJECT = INDEX_TABLE\r\nEND\r\n"))
    row = b'"/v/data/"\t"1p128287181eff0000p2303l2m1.img"\t1024\t1024\r\n'
    server.on("/v/index/edrindex.tab", answers(200, row))
    archive = resolve(server.url("/v/"))
    with ChangeDetector(fetcher) as detector:
        (product,) = list_products(
            [archive], Selection(), detector, lambda left_out: None, lambda rows: None
        )
    assert product.source == server.url("/v/")
    assert set(detector.versions) == {
        server.url("/v/index/edrindex.lbl"),
        server.url("/v/index/edrindex.tab"),
    }


def test_a_file_that_never_was_there_raises(server, read_versions):
    with pytest.raises(NotFoundError):
        read_versions(server.url(TABLE))
