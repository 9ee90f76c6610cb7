"""Paths that users give."""

import re
from pathlib import Path

URL = re.compile(r"([a-z][a-z0-9+.-]+):/+", re.IGNORECASE)


def url_instead(path: Path) -> str | None:
    """Return the URL that was given instead of a path, None if it is a path.

    A `Path` has lost one of the two slashes.
    """
    text = str(path)
    return URL.sub(r"\1://", text, count=1) if URL.match(text) else None
