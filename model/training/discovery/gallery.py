"""Writes ranked pictures as one self-contained HTML page."""

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from mernet.model.pictures import Picture
from mernet.model.training.html_templates import load_template
from mernet.model.training.text_files import write_text

THUMBNAIL = 256
"""Longest side of a picture on the page, in pixels."""
JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True, eq=False)
class RankedPicture:
    """One picture of the page.

    Attributes:
        path: Its file.
        score: Its score.
        picture: Its 8-bit pixels.
        labels: Names of the classes it is known to show.
        residual: A picture of what is novel in it; None if there is none.
    """

    path: Path
    score: float
    picture: Picture
    labels: tuple[str, ...] = ()
    residual: Picture | None = None


def write_gallery(
    page: Path, ranked: Sequence[RankedPicture], title: str, facts: Mapping[str, str]
) -> None:
    """Write the page completely or not at all, with the pictures in the order given.

    A picture links to its file, relative to the page, so that both can be moved together.

    Args:
        page: Path of the page.
        ranked: The pictures.
        title: Title of the page.
        facts: How the ranking was computed.

    Raises:
        OSError: The page cannot be written.
    """
    cards = list(_iterate_cards(ranked, page.parent))
    write_text(page, load_template("gallery.html").render(title=title, facts=facts, cards=cards))


def _iterate_cards(ranked: Sequence[RankedPicture], folder: Path) -> Iterator[dict[str, Any]]:
    highest = max((each.score for each in ranked), default=0.0) or 1.0
    for rank, each in enumerate(ranked, start=1):
        thumbnail = _create_thumbnail(each.picture)
        yield {
            "rank": rank,
            "name": each.path.name,
            "link": quote(Path(os.path.relpath(each.path, folder)).as_posix()),
            "score": each.score,
            "share": each.score / highest,
            "labels": each.labels,
            "picture": _data_uri(thumbnail),
            "residual": _residual_uri(each.residual, thumbnail.size),
        }


def _create_thumbnail(picture: Picture) -> Image.Image:
    thumbnail = Image.fromarray(picture)
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    return thumbnail


def _residual_uri(residual: Picture | None, size: tuple[int, int]) -> str | None:
    """Return the residual in the size of its picture, so that positions can be compared."""
    return None if residual is None else _data_uri(Image.fromarray(residual).resize(size))


def _data_uri(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
