"""Fetching from a server that sends what no server should: only our errors, and within bounds."""

import gzip
import tracemalloc
import zlib

import pytest

from mernet.pds.answers import LONGEST_REST_SECONDS
from mernet.pds.errors import FetchError, TooLargeError, TransferError
from mernet.pds.fetch import Fetcher

BODY = bytes(range(256)) * 8


@pytest.fixture
def fetcher():
    with Fetcher(attempts=2, sleep=lambda _: None, max_bytes=1_000_000) as fetcher:
        yield fetcher


@pytest.fixture
def sent(server, answers):
    """The URL of a file that is answered with a status, a body and headers."""

    def answer(status=200, body=BODY, **headers):
        return server.on("/a", answers(status, body, **headers))

    return answer


def raw(text):
    """An answer of these very bytes, after which the connection ends."""

    def answer(handler, _):
        handler.wfile.write(text)
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    "location",
    [
        "http://[",
        "http://[::1",
        "http://a:99999999/",
        "http://a:port/",
        "http://\udcff/",
        "http://" + "a" * 70 + ".example/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "javascript:alert(1)",
        "//elsewhere.example/a",
        "http://localhost:1/a",
        "http://169.254.169.254/latest",
        "http://127.0.0.1:6379/",
        "",
        "\x1b[2J",
    ],
)
def test_a_redirect_to_elsewhere_is_refused(server, fetcher, location):
    header = location.encode("latin-1", "replace")
    url = server.on("/a", raw(b"HTTP/1.1 302 x\r\nLocation: " + header + b"\r\n\r\n"))
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url)
    assert str(caught.value).isprintable()


def test_a_redirect_on_the_same_host_is_followed(server, answers, fetcher):
    server.on("/b", answers(200, BODY))
    assert fetcher.fetch(server.on("/a", answers(302, Location="/b"))) == BODY


def test_a_redirect_to_a_host_that_was_allowed_is_followed(server, answers):
    target = server.on("/b", answers(200, BODY)).replace("127.0.0.1", "localhost")
    url = server.on("/a", answers(302, Location=target))
    with Fetcher(attempts=1) as fetcher, pytest.raises(FetchError, match="another host"):
        fetcher.fetch(url)
    with Fetcher(attempts=1, redirect_hosts=["LocalHost"]) as fetcher:
        assert fetcher.fetch(url) == BODY


def test_endless_redirects_end(server, answers, fetcher):
    with pytest.raises(FetchError, match="redirects more than"):
        fetcher.fetch(server.on("/a", answers(302, Location="/a")))
    assert server.asked["/a"] < 20


def test_the_body_of_a_redirect_is_not_read(server, answers, fetcher):
    server.on("/b", answers(200, BODY))
    url = server.on("/a", answers(302, b"", Location="/b", Content_Length="999999999"))
    assert fetcher.fetch(url) == BODY


@pytest.mark.parametrize(
    "length", ["9" * 5000, "-1", "1e3", "2048.0", "2048, 2047", "٢٠٤٨", "0x800", "a", ""]
)
def test_a_content_length_that_is_no_size_is_a_fault_of_the_host(sent, fetcher, length):
    length = length.encode().decode("latin-1")
    with pytest.raises(TransferError) as caught:
        fetcher.fetch(sent(Content_Length=length))
    assert len(str(caught.value)) < 500


def test_a_content_length_that_is_there_twice_counts_once(sent, fetcher):
    assert fetcher.fetch(sent(Content_Length=f"{len(BODY)}, {len(BODY)}")) == BODY


def test_a_body_shorter_than_its_length_is_no_file(server, fetcher):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"
    with pytest.raises(TransferError, match="broke"):
        fetcher.fetch(server.on("/a", raw(head + BODY)))


def test_what_comes_after_the_body_is_not_part_of_the_next_answer(server, answers, fetcher):
    def too_long(handler, _):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY)

    assert fetcher.fetch(server.on("/a", too_long)) == BODY[:10]
    assert fetcher.fetch(server.on("/b", answers(200, b"next"))) == b"next"


@pytest.mark.parametrize(
    "header",
    [
        "9" * 5000,
        "9" * 300,
        "inf",
        "nan",
        "-5",
        "١٠",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Fri, 31 Dec 9999 23:59:59 +99999999",
        "Fri, 99 Xyz 10000 99:99:99 GMT",
        "",
    ],
)
def test_an_absurd_retry_after_is_a_busy_server_like_any_other(sent, fetcher, header):
    with pytest.raises(TransferError) as caught:
        fetcher.fetch(sent(503, Retry_After=header.encode().decode("latin-1")))
    asked_for = caught.value.retry_after
    assert asked_for is None or 0 <= asked_for <= LONGEST_REST_SECONDS
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "x\x1b[2J"])
def test_an_encoding_that_was_not_asked_for_is_refused(sent, fetcher, encoding):
    with pytest.raises(FetchError, match="Content-Encoding"):
        fetcher.fetch(sent(Content_Encoding=encoding))


@pytest.mark.parametrize("encoding", ["gzip, chunked", "gzip", "deflate", "x\x1b[2J"])
def test_a_transfer_encoding_that_was_not_asked_for_is_refused(server, fetcher, encoding):
    head = f"HTTP/1.1 200 x\r\nTransfer-Encoding: {encoding}\r\n\r\n5\r\nbytes\r\n0\r\n\r\n"
    with pytest.raises(FetchError, match="Transfer-Encoding") as caught:
        fetcher.fetch(server.on("/a", raw(head.encode())))
    assert str(caught.value).isprintable()


def test_a_compressed_body_is_decompressed(sent, fetcher):
    two_members = gzip.compress(BODY) + gzip.compress(b"more")
    assert fetcher.fetch(sent(body=two_members, Content_Encoding="gzip")) == BODY + b"more"


@pytest.mark.parametrize(
    "body",
    [BODY, gzip.compress(BODY)[:-9], gzip.compress(BODY)[:5], zlib.compress(BODY)],
    ids=["not compressed", "cut", "cut in its header", "of another format"],
)
def test_a_damaged_or_cut_compressed_body_is_no_file(sent, fetcher, body):
    with pytest.raises(TransferError):
        fetcher.fetch(sent(body=body, Content_Encoding="gzip"))


def test_a_compression_bomb_is_refused_within_bounds(sent, fetcher):
    bomb = gzip.compress(bytes(300_000_000))
    url = sent(body=bomb, Content_Encoding="gzip")
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        fetcher.fetch(url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 -200 OK\r\n\r\n",
        b"\0" * 500,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"",
    ],
)
def test_a_malformed_answer_is_a_broken_transfer(server, fetcher, head):
    with pytest.raises(FetchError):
        fetcher.fetch(server.on("/a", raw(head)))


def test_an_endless_header_ends(server):
    def endless(handler, _):
        try:
            while True:
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except OSError:
            handler.close_connection = True

    with (
        Fetcher(attempts=1, read_seconds=0.3) as fetcher,
        pytest.raises(TransferError, match=r"timed out|within"),
    ):
        fetcher.fetch(server.on("/a", endless))


def test_an_endless_body_ends(server, fetcher):
    def endless(handler, _):
        handler.close_connection = True
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                handler.wfile.write(BODY)
        except OSError:
            pass

    with pytest.raises(TooLargeError):
        fetcher.fetch(server.on("/a", endless))


@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "http://",
        "http://a:b:c/",
        "http://a:99999/",
        "http://" + "a" * 300 + "/",
        "http://..../",
        "http://\udcff/",
        "http://a\0b/",
        "file://[",
        "file://elsewhere.example/etc/hosts",
        "file:///a\0b",
        "file:///" + "a" * 5000,
        "gopher://a/",
        "",
    ],
)
def test_a_url_that_is_none_is_refused(fetcher, url):
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


def test_credentials_are_sent_and_never_shown(server, answers, fetcher):
    url = server.on("/a", answers(404)).replace("http://", "http://user:s3cret@")
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url)
    assert server.headers[0]["Authorization"].startswith("Basic ")
    assert "s3cret" not in str(caught.value)


def test_netrc_is_not_used(server, answers, fetcher, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    fetcher.fetch(server.on("/a", answers(200)))
    assert "Authorization" not in server.headers[0]
