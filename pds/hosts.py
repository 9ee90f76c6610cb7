"""Which hosts a URL that an archive's listing names may lead to."""

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import urlsplit

from mernet.pds.plain_name import is_web_url

WEB_SCHEMES = ("http", "https")


def may_be_listed(url: str, archive_url: str) -> bool:
    """Return whether a listing may name a URL: one of the archive's host, or a public address.

    A listing must not make the service ask a machine of its own network. A host is asked for if it
    is the archive's: a user may have an archive on this machine or in a private network.
    """
    if not is_web_url(url):
        return False
    host = urlsplit(url).hostname or ""
    return host == urlsplit(archive_url).hostname or is_public(host)


@lru_cache(maxsize=1024)
def is_public(host: str) -> bool:
    """Return whether all addresses of a host are public.

    A name without an address counts as public: only a proxy can reach it.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return host != "localhost" and not host.endswith((".localhost", ".local", ".internal"))
    except (OSError, UnicodeError, ValueError):
        return False
    return all(ipaddress.ip_address(str(each[4][0])).is_global for each in found)
