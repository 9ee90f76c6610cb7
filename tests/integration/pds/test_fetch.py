"""Fetching from a server that misbehaves, and from disk."""

import gzip
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from mernet.pds.archive import resolve
from mernet.pds.errors import (
    FetchError,
    ForbiddenError,
    NotFoundError,
    TooLargeError,
    TransferError,
)
from mernet.pds.fetch import Fetcher, Transfers, user_agent
from mernet.pds.listing import list_products
from mernet.pds.selection import Selection

BODY = bytes(range(256)) * 800


@pytest.fixture
def waits():
    """The seconds that the fetcher asked to wait between attempts."""
    return []


@pytest.fixture
def fetcher(waits):
    with Fetcher(user_agent("tests@example.org"), attempts=3, sleep=waits.append) as fetcher:
        yield fetcher


def then(*answers):
    """The first answer to the first request, and so on; the last one is repeated."""

    def answer(handler, request):
        answers[min(request, len(answers)) - 1](handler, request)

    return answer


def test_a_file_arrives_whole(server, answers, fetcher):
    assert fetcher.fetch(server.on("/a", answers(200, BODY))) == BODY


def test_the_server_learns_who_calls(server, answers, fetcher):
    fetcher.fetch(server.on("/a", answers(200)))
    assert server.headers[0]["User-Agent"].startswith("mernet/")
    assert server.headers[0]["User-Agent"].endswith(" (+tests@example.org)")


def test_a_contact_beyond_latin_1_is_sent_as_far_as_a_header_can_hold_it(server, answers):
    with Fetcher(user_agent("Jürgen Černý")) as fetcher:
        fetcher.fetch(server.on("/a", answers(200)))
    assert server.headers[0]["User-Agent"].endswith(" (+Jürgen ?erný)")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server, answers, fetcher, status):
    url = server.on("/a", then(answers(status), answers(status), answers(200, BODY)))
    assert fetcher.fetch(url) == BODY
    assert server.asked["/a"] == 3


def test_the_wait_between_attempts_grows(server, answers, waits):
    url = server.on("/a", answers(503))
    with Fetcher(attempts=6, sleep=waits.append) as fetcher, pytest.raises(TransferError):
        fetcher.fetch(url)
    assert all(
        base <= wait <= base + 1 for base, wait in zip([0.5, 1, 2, 4, 8], waits, strict=True)
    )


def test_a_server_that_stays_busy_is_given_up_with_its_answer(server, answers, fetcher):
    with pytest.raises(TransferError, match=r"429.*fewer connections"):
        fetcher.fetch(server.on("/a", answers(429)))
    assert server.asked["/a"] == 3


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("7", 7, 7), ("60", 60, 60), ("soon", 0.5, 1.5), ("0", 0.5, 1.5)],
)
def test_retry_after_is_honoured(server, answers, fetcher, waits, header, low, high):
    url = server.on("/a", then(answers(429, Retry_After=header), answers(200, BODY)))
    assert fetcher.fetch(url) == BODY
    assert low <= waits[0] <= high


def test_a_server_that_wants_a_long_rest_is_not_asked_again(server, answers, fetcher):
    with pytest.raises(TransferError, match="try again in 86400 s"):
        fetcher.fetch(server.on("/a", answers(429, Retry_After="86400")))
    assert server.asked["/a"] == 1


def test_retry_after_may_be_a_date(server, answers, fetcher, waits):
    moment = datetime.now(UTC) + timedelta(seconds=50)
    busy = answers(503, Retry_After=format_datetime(moment, usegmt=True))
    assert fetcher.fetch(server.on("/a", then(busy, answers(200, BODY)))) == BODY
    assert 10 <= waits[0] <= 50


def test_a_truncated_transfer_is_repeated(server, answers, fetcher):
    def hang_up(handler, request):
        answers(200, BODY[:1000], Content_Length=str(len(BODY)))(handler, request)
        handler.close_connection = True

    assert fetcher.fetch(server.on("/a", then(hang_up, answers(200, BODY)))) == BODY


def test_a_transfer_that_is_truncated_each_time_fails(server, answers, fetcher):
    def hang_up(handler, request):
        answers(200, BODY[:1000], Content_Length=str(len(BODY)))(handler, request)
        handler.close_connection = True

    with pytest.raises(TransferError, match="broke"):
        fetcher.fetch(server.on("/a", hang_up))
    assert server.asked["/a"] == 3


def test_a_server_that_hangs_up_without_an_answer_is_asked_again(server, answers, fetcher):
    def hang_up(handler, _):
        handler.close_connection = True

    assert fetcher.fetch(server.on("/a", then(hang_up, answers(200, BODY)))) == BODY


def test_a_server_that_is_not_there_is_a_failed_transfer(server, fetcher):
    url = server.url("/a").replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(TransferError, match="broke"):
        fetcher.fetch(url)


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (404, NotFoundError, "base URL or its mirror"),
        (410, NotFoundError, "base URL or its mirror"),
        (403, ForbiddenError, "give a contact"),
        (401, ForbiddenError, "give a contact"),
        (400, FetchError, "check the URL"),
        (206, FetchError, "check the URL"),
    ],
)
def test_a_refusal_is_not_asked_again_and_says_what_to_do(
    server, answers, fetcher, status, error, advice
):
    with pytest.raises(error, match=advice):
        fetcher.fetch(server.on("/a", answers(status, b"x")))
    assert server.asked["/a"] == 1


def test_a_body_that_comes_too_slowly_is_cut_off_at_the_total_time_out(server):
    stopped = threading.Event()

    def send_slowly(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not stopped.wait(0.02):
            handler.wfile.write(b".")
        handler.close_connection = True

    url = server.on("/a", send_slowly)
    with (
        Fetcher(total_seconds=0.2) as fetcher,
        pytest.raises(TransferError, match=r"within 0\.2 s"),
    ):
        fetcher.fetch(url)
    stopped.set()


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><body>Down for maintenance</body></html>",
        b"\xef\xbb\xbf\r\n <HTML>",
        b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0">',
        b"<!-- proxy --> <html lang='en'>",
    ],
)
def test_a_web_page_in_place_of_a_file_is_a_fault_of_the_host_that_may_pass(
    server, answers, fetcher, page
):
    assert fetcher.fetch(server.on("/a", then(answers(200, page), answers(200, BODY)))) == BODY
    with pytest.raises(TransferError, match="web page"):
        fetcher.fetch(server.on("/b", answers(200, page)))
    with pytest.raises(TransferError, match="web page"), fetcher.open(server.url("/b")):
        pass


def test_a_label_in_xml_is_no_web_page(server, answers, fetcher):
    label = b'<?xml version="1.0"?>\n<Product_Observational>html</Product_Observational>'
    assert fetcher.fetch(server.on("/a", answers(200, label))) == label


def test_a_single_attempt_is_not_repeated(server, answers, fetcher):
    with pytest.raises(TransferError):
        fetcher.fetch_once(server.on("/a", answers(503)))
    assert server.asked["/a"] == 1


def test_a_body_whose_length_was_not_announced_ends_with_its_connection(server, fetcher):
    def until_the_end(handler, _):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(BODY)
        handler.close_connection = True

    assert fetcher.fetch(server.on("/a", until_the_end)) == BODY


def test_requests_share_a_connection_until_new_ones_are_wanted(server, fetcher):
    ports = []

    def note_port(handler, _):
        ports.append(handler.client_address[1])
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY)

    url = server.on("/a", note_port)
    for _ in range(2):
        fetcher.fetch(url)
    fetcher.reconnect()
    fetcher.fetch(url)
    first, second, third = ports
    assert first == second != third


def test_bytes_and_retries_are_counted_those_of_broken_transfers_included(
    server, answers, fetcher, tmp_path
):
    def hang_up(handler, request):
        answers(200, BODY[:1000], Content_Length=str(len(BODY)))(handler, request)
        handler.close_connection = True

    fetcher.fetch(server.on("/a", then(hang_up, answers(200, BODY))))
    assert fetcher.transfers == Transfers(1000 + len(BODY), retries=1)
    before = fetcher.transfers
    (tmp_path / "file").write_bytes(BODY)
    fetcher.fetch((tmp_path / "file").as_uri())
    assert fetcher.transfers - before == Transfers(len(BODY), retries=0)


def test_a_server_that_says_nothing_is_left_at_the_read_time_out(server, waits):
    stopped = threading.Event()

    def wait(handler, _):
        stopped.wait(10)
        handler.close_connection = True

    url = server.on("/a", wait)
    with (
        Fetcher(read_seconds=0.1, attempts=2, sleep=waits.append) as fetcher,
        pytest.raises(TransferError, match=r"no answer within 0\.1 s"),
    ):
        fetcher.fetch(url)
    stopped.set()
    assert server.asked["/a"] == 2


def test_an_announced_size_over_the_limit_is_refused(server, answers):
    url = server.on("/a", answers(200, b"", Content_Length="1001"))
    with Fetcher(max_bytes=1000) as fetcher, pytest.raises(TooLargeError, match="1000 bytes"):
        fetcher.fetch(url)


def test_a_packed_body_that_grows_over_the_limit_is_refused(server, answers):
    url = server.on("/a", answers(200, gzip.compress(bytes(10**6)), Content_Encoding="gzip"))
    with Fetcher(max_bytes=100_000) as fetcher, pytest.raises(TooLargeError):
        fetcher.fetch(url)


def test_a_packed_body_arrives_unpacked(server, answers, fetcher):
    url = server.on("/a", answers(200, gzip.compress(BODY), Content_Encoding="gzip"))
    assert fetcher.fetch(url) == BODY


def test_a_body_in_chunks_arrives_whole(server, fetcher):
    def chunked(handler, _):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    assert fetcher.fetch(server.on("/a", chunked)) == b"abcde"


def test_a_redirect_is_followed(server, answers, fetcher):
    server.on("/b", answers(200, BODY))
    assert fetcher.fetch(server.on("/a", answers(302, Location="/b"))) == BODY


def test_a_redirect_in_circles_is_an_error(server, answers, fetcher):
    with pytest.raises(FetchError, match="cannot be fetched"):
        fetcher.fetch(server.on("/a", answers(302, Location="/a")))


def test_a_redirect_to_disk_is_not_followed(server, answers, fetcher):
    with pytest.raises(FetchError, match="cannot be fetched"):
        fetcher.fetch(server.on("/a", answers(302, Location="file:///etc/hostname")))


@pytest.mark.parametrize(
    "url",
    [
        "http://", "http://[", "gopher://example.org/x", "nonsense", "http://a..b/",
        f"http://{'a' * 64}/", "http://a\0b/", "file:///a%00b",
    ],
)  # fmt: skip
def test_an_unusable_url_is_an_error_at_once(fetcher, waits, url):
    with pytest.raises(FetchError, match="check"):
        fetcher.fetch(url)
    assert not waits


def test_a_redirect_to_an_unusable_url_is_an_error_at_once(server, answers, fetcher):
    with pytest.raises(FetchError, match="check the URL"):
        fetcher.fetch(server.on("/a", answers(302, Location="http://a..b/")))
    assert server.asked["/a"] == 1


def test_cookies_are_not_kept(server, answers, fetcher):
    url = server.on("/a", answers(200, Set_Cookie="session=1"))
    fetcher.fetch(url)
    fetcher.fetch(url)
    assert "Cookie" not in server.headers[1]


def test_a_host_never_sees_more_connections_than_allowed(server, answers):
    lock = threading.Lock()
    both_here = threading.Barrier(2, timeout=5)
    now, most = 0, 0

    def count(handler, request):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        both_here.wait()
        with lock:
            now -= 1
        answers(200, BODY)(handler, request)

    url = server.on("/a", count)
    with Fetcher(connections_per_host=2) as fetcher, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fetcher.fetch, [url] * 16)) == [BODY] * 16
    assert most == 2


def test_a_table_arrives_as_a_stream_also_after_a_break(server, answers, fetcher):
    def hang_up(handler, request):
        answers(200, BODY[:1000], Content_Length=str(len(BODY)))(handler, request)
        handler.close_connection = True

    url = server.on("/a", then(hang_up, answers(200, BODY)))
    with fetcher.open(url) as table:
        assert table.read() == BODY


def test_a_file_url_is_read_from_disk(tmp_path, fetcher):
    path = tmp_path / "a b#1.img"
    path.write_bytes(BODY)
    assert fetcher.fetch(path.as_uri()) == BODY
    with fetcher.open(path.as_uri()) as table:
        assert table.read() == BODY


def test_a_file_url_has_the_same_limits_and_errors(tmp_path):
    (tmp_path / "large").write_bytes(BODY)
    os.mkfifo(tmp_path / "pipe")
    with Fetcher(max_bytes=1000) as fetcher:
        for name, error in {
            "large": TooLargeError,
            "missing": NotFoundError,
            "": NotFoundError,
            "pipe": NotFoundError,
        }.items():
            with pytest.raises(error):
                fetcher.fetch((tmp_path / name).as_uri())


def test_a_volume_is_listed_over_http(server, answers, fetcher):
    label = (
        'PDS_VERSION_ID = PDS3\r\n^INDEX_TABLE = "EDRINDEX.TAB"\r\nOBJECT = INDEX_TABLE\r\n'
        + "".join(
            f"OBJECT = COLUMN\r\nNAME = {name}\r\nEND_OBJECT = COLUMN\r\n"
            for name in ("PATH_NAME", "FILE_NAME", "LINES", "LINE_SAMPLES")
        )
        + "END_OBJECT = INDEX_TABLE\r\nEND\r\n"
    )
    row = b'"/vol/data/sol0001/edr/"\t"1p128287181eff0000p2303l2m1.img"\t1024\t1024\r\n'
    server.on("/mer/vol/index/edrindex.lbl", answers(200, label.encode()))
    server.on("/mer/vol/index/edrindex.tab.gz", answers(200, gzip.compress(row)))
    archive = resolve(server.url("/mer/vol"))
    [product] = list_products([archive], Selection(), fetcher, print, lambda rows: None)
    path = "/mer/vol/data/sol0001/edr/1p128287181eff0000p2303l2m1.img"
    assert product.image_url == server.url(path)
    assert server.asked["/mer/vol/index/EDRINDEX.TAB"] == 1
