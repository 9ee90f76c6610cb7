"""A listing may lead to its archive's own host and to public addresses, and nowhere else."""

import pytest

from mernet.pds.hosts import may_be_listed
from mernet.pds.plain_name import is_host_name

PUBLIC_ARCHIVE = "https://8.8.8.8/api/"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a",
        "http://localhost:6379/a",
        "http://10.0.0.1/a",
        "http://192.168.1.1/a",
        "http://172.16.0.9/a",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/a",
        "http://[fe80::1]/a",
        "http://[fd00::1]/a",
        "http://[::ffff:127.0.0.1]/a",
        "http://0.0.0.0/a",
        "http://0/a",
        "http://2130706433/a",
        "http://0x7f000001/a",
        "http://127.1/a",
        "http://user@127.0.0.1/a",
        "http://[",
        "http://a:port/",
        "http:///a",
        "file:///etc/passwd",
        "ftp://8.8.8.8/a",
        "//8.8.8.8/a",
        "http://8.8.8.8/\x1b[2J",
        "https://8.8.8.8/a/../b",
        "https://8.8.8.8/a/%2e%2E/b",
        "https://8.8.8.8/./b",
        "http://" + "a" * 300 + "/",
        "http://" + "ab." * 100 + "org/",
        "https://" + ".".join(["漢字漢字漢字漢字"] * 150) + "/4.img",
        "https://two words.example/a",
        "https://*.example.org/a",
        "https://8.8.8.8:0/a",
    ],
)
def test_a_listing_leads_to_no_private_address_and_no_other_scheme(url: str) -> None:
    assert not may_be_listed(url, PUBLIC_ARCHIVE)


@pytest.mark.parametrize(
    ("url", "archive"),
    [
        ("https://8.8.4.4/a.xml", PUBLIC_ARCHIVE),
        ("http://8.8.8.8:8080/a.xml", PUBLIC_ARCHIVE),
        ("http://127.0.0.1:9999/a.xml", "http://127.0.0.1:8000/api"),
        ("http://10.0.0.1/a.xml", "http://10.0.0.1/api"),
        ("https://no-such-host.invalid/a.xml", PUBLIC_ARCHIVE),
    ],
)
def test_a_listing_leads_to_its_own_host_and_to_public_ones(url: str, archive: str) -> None:
    assert may_be_listed(url, archive)


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "Example.org",
        "example.org.",
        "some_host.example",
        "8.8.8.8",
        "::1",
        "fe80::1%eth0",
        "bücher.example",
        "例え.テスト",
        "a" * 63 + ".example",
        ".".join(["a" * 49] * 5),
    ],
)
def test_a_host_is_called_by_its_address_or_a_name_of_short_parts(name: str) -> None:
    assert is_host_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        ".example.org",
        "*.example.org",
        "two words",
        "a%41.example",
        "a,b",
        "1::2::3",
        "a:b",
        "\u2603.example",
        "\u3002",
        "a" * 64 + ".example",
        "é" * 60 + ".example",
        ".".join(["a" * 50] * 5),
        ".".join(["漢字漢字漢字漢字"] * 20),
    ],
)
def test_no_host_has_a_name_that_is_too_long_or_of_other_characters(name: str) -> None:
    assert not is_host_name(name)
