"""Names from labels and tables: which may become part of a path or URL, and where that leads."""

import re
from ipaddress import IPv6Address
from urllib.parse import unquote, urlsplit

import idna

LABEL_SUFFIXES = (".xml", ".lblx")  # of PDS4
MAX_NAME = 200  # characters; the names of real files have under 70
MAX_URL = 2000  # characters
MAX_HOST = 253  # bytes (RFC 1035, 2.3.4)
HOST_PART = re.compile(r"[A-Za-z0-9_-]{1,63}")


def is_plain_file_name(text: str) -> bool:
    """Return whether a text names a file in one given folder, and nothing else.

    Separators, `.`, `..`, percent escapes of these, colons (drives), control characters and other
    text that is not printable could lead to another folder, file or host.
    """
    return (
        0 < len(text) <= MAX_NAME
        and text.isprintable()
        and text == text.strip()
        and text not in (".", "..")
        and not set(unquote(text)) & set("/\\:?#\0\r\n")
        and unquote(text) not in (".", "..")
    )


def path_parts(text: str) -> list[str] | None:
    """Return the folders of a relative path in a table, None if it leads elsewhere.

    Separators may be slashes or backslashes, at the beginning and end too, but not doubled at the
    beginning: `//host` would be another host. A part `.` is the folder itself.
    """
    path = text.strip().replace("\\", "/")
    if path.startswith("//"):
        return None
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return parts if all(map(is_plain_file_name, parts)) else None


def is_web_url(text: str) -> bool:
    """Return whether a text from outside is a complete http(s) URL, without a login or dots in it.

    The dots are the parts `.` and `..` of a path, which lead to another folder.
    """
    if len(text) > MAX_URL or not text.isprintable():
        return False
    try:
        parts = urlsplit(text)
        if parts.port == 0:
            return False
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https") and is_host_name(parts.hostname or "")
    return is_web and "@" not in parts.netloc and "\\" not in text and not _has_dots(parts.path)


def is_host_name(text: str) -> bool:
    """Return whether a host can have this name; an IP address is one.

    Letters outside ASCII are judged as they are asked for (RFC 5890). Underscores are in the names
    of some hosts.
    """
    if len(text) > MAX_HOST:
        return False
    try:
        if ":" in text:
            return bool(IPv6Address(text))
        name = text if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except ValueError:
        return False
    parts = name.removesuffix(".").split(".")
    return len(name) <= MAX_HOST and all(map(HOST_PART.fullmatch, parts))


def is_below(url: str, base: str) -> bool:
    """Return whether a URL is in the folder `base`, a URL that ends with a slash."""
    try:
        inner, outer = urlsplit(url), urlsplit(base)
    except ValueError:
        return False
    return (
        (inner.scheme, inner.netloc) == (outer.scheme, outer.netloc)
        and inner.path.startswith(outer.path)
        and not _has_dots(inner.path)
    )


def _has_dots(path: str) -> bool:
    """Return whether a URL's path has a part that leads to another folder."""
    return not {".", ".."}.isdisjoint(unquote(path).replace("\\", "/").split("/"))
