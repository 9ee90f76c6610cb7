"""Names from labels and tables: which may become part of a path or URL, and where that leads."""

from urllib.parse import unquote, urlsplit

LABEL_SUFFIXES = (".xml", ".lblx")  # of PDS4
MAX_NAME = 200  # characters; the names of real files have under 70
MAX_URL = 2000  # characters


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
        _ = parts.port
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    return is_web and "@" not in parts.netloc and "\\" not in text and not _has_dots(parts.path)


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
