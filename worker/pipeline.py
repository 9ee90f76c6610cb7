"""One chunk's way: fetch -> decode -> render -> classify -> outcomes. No Celery, no database in it."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt

from db.publish import Classified, Failed, Outcome
from db.rows import ProductRow
from pds.errors import PdsError
from pds.image import decode, render

log = logging.getLogger(__name__)

Rendering = npt.NDArray[np.uint8]


class ImageSource(Protocol):
    """Where images' bytes come from."""

    def fetch(self, url: str) -> bytes:
        """All bytes at `url`; raises `PdsError`."""


class ImageClassifier(Protocol):
    """What gives renderings their probabilities."""

    def probabilities(self, renderings: Sequence[Rendering]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities, float32 of shape (images, 25)."""


class Abandoned(Exception):
    """The chunk is no longer ours: its run was cancelled, or another worker has it."""


def classify_products(
    products: Sequence[ProductRow],
    source: ImageSource,
    classifier: ImageClassifier,
    threads: int,
    still_ours: Callable[[], bool],
) -> list[Outcome]:
    """One outcome for each of `products`, in their order.

    At most `threads` images are fetched and decoded at once. `still_ours` is asked between the
    stages; raises `Abandoned` when it says no.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        rendered = list(pool.map(lambda product: _render(product, source), products))
    if not still_ours():
        raise Abandoned
    pictures = [picture for picture in rendered if not isinstance(picture, Failed)]
    scores = iter(classifier.probabilities(pictures)) if pictures else iter(())
    return [
        picture if isinstance(picture, Failed) else Classified(product.product_id, next(scores))
        for product, picture in zip(products, rendered, strict=True)
    ]


def _render(product: ProductRow, source: ImageSource) -> Rendering | Failed:
    """The product's rendering, or why there is none: whatever is wrong with one image stays here."""
    try:
        label = source.fetch(product.label_url) if product.label_url else None
        frame = decode(source.fetch(product.image_url), product.product_id, label)
    except PdsError as error:
        return Failed(product.product_id, error.reason, str(error))
    except Exception as error:  # a fault of ours with this image must not take the others down
        log.exception("product %s could not be rendered", product.product_id)
        return Failed(product.product_id, "internal error", f"{type(error).__name__}: {error}")
    if frame.pixels.shape != (product.lines, product.line_samples):
        height, width = frame.pixels.shape
        return Failed(
            product.product_id,
            "wrong size",
            f"The file holds {height}x{width} pixels; the archive's listing says "
            f"{product.lines}x{product.line_samples}.",
        )
    return render(frame)
