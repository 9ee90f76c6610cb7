"""One product's way from its URL to a picture, or to the reason why there is none."""

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mernet.db.ledger import INTERNAL_ERROR, ProductRow
from mernet.db.products import OtherImage
from mernet.db.publish import Failed
from mernet.pds.archive import is_mirrored, url_at_mirror
from mernet.pds.errors import DecodeError, NotFoundError, PdsError, TruncatedError, WrongSizeError
from mernet.pds.image import Frame, decode
from mernet.pds.rendering import render
from mernet.printable import LONGEST_DETAIL, printable
from mernet.worker.archive_hosts import HostGuard, host_of
from mernet.worker.errors import HostDown
from mernet.worker.faults import is_fault, is_memory_left
from mernet.worker.metrics import STAGE_SECONDS

log = logging.getLogger(__name__)

_ALONE = threading.Lock()
"""Held while a product is read for which there was not enough memory."""

Rendering = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """What the classifier sees of a product, and the share of its pixels not received, if known."""

    rendering: Rendering
    missing_share: float | None


@dataclass(frozen=True, slots=True)
class Files:
    """A product's image, and its label if that is a file of its own."""

    image: bytes
    label: bytes | None

    @property
    def digest(self) -> tuple[bytes, bytes]:
        """sha256 of the image and of the label."""
        return hashlib.sha256(self.image).digest(), hashlib.sha256(self.label or b"").digest()


@dataclass(frozen=True, slots=True)
class ProductReader:
    """Fetches, decodes and renders the products of a chunk.

    A failure is lasting only if it is proven: damage, by the same bytes in a second transfer while
    another file of the archive is sound; that a file does not exist, by a second request after
    another file of the archive was found. A copy at a mirror proves nothing.

    Attributes:
        guard: Fetches the files, and notices if their host is down.
        mirror: A place from which to read the archives instead of their own, None without one.
        is_second_time: Whether the products were not found before.
    """

    guard: HostGuard
    mirror: str | None
    is_second_time: bool = False

    def read(self, product: ProductRow) -> Picture | Failed:
        """Return a product's picture, or why it failed: a bad image must not stop the others.

        Raises:
            HostDown: Its host is down, so the product has not failed.
            Exception: For a fault of the database or of this machine, see `is_fault`.
        """
        try:
            return self._read(product)
        except MemoryError:  # perhaps because of the others that are read at the same time
            pass
        with _ALONE:
            try:
                return self._read(product)
            except MemoryError as error:
                if not self._can_another_be_read(product):
                    raise
                return _internal_error(product, error)

    def read_again(self, product: ProductRow, failed: Failed) -> Picture | Failed:
        """Return the picture of a product that was not found; or, with proof, that it is gone.

        One of several servers behind a host, or a part of its disk, may have been away for a
        moment. So this is called as late as possible, and over new connections.

        Args:
            product: The product.
            failed: What the first attempt gave, and this one too if nothing can be proven.

        Raises:
            Exception: As `read`.
        """
        if self._is_at_mirror(product) or not self.guard.has_others(self._place(product)):
            return failed
        return replace(self, is_second_time=True).read(product)

    def _read(self, product: ProductRow) -> Picture | Failed:
        try:
            return self._picture_or_damage(product)
        except Exception as error:
            if isinstance(error, HostDown) or is_fault(error):  # so this product has not failed
                raise
            if isinstance(error, PdsError):
                is_gone = self.is_second_time and isinstance(error, NotFoundError)
                return self._failed(product, error, lambda: is_gone)
            return _internal_error(product, error)  # a defect that this image reveals

    def _picture_or_damage(self, product: ProductRow) -> Picture | Failed:
        """Return a product's picture; or, with proof, that it is damaged."""
        files = self._fetch(product)
        try:
            return _to_picture(product, files)
        except DecodeError as error:
            damage = error
        again = self._fetch(product)
        if again.digest != files.digest:
            return _to_picture(product, again)
        if isinstance(damage, TruncatedError):
            self._check_host_sends_whole_files(product, damage)
        return self._failed(product, damage, lambda: self._are_others_sound(product))

    def _fetch(self, product: ProductRow) -> Files:
        label = self._fetch_file(product.label_url) if product.label_url else None
        return Files(self._fetch_file(product.image_url), label)

    def _fetch_file(self, url: str) -> bytes:
        with STAGE_SECONDS.labels("fetch").time():
            return self.guard.fetch(url_at_mirror(url, self.mirror))

    def _failed(
        self, product: ProductRow, error: PdsError, is_proven: Callable[[], bool]
    ) -> Failed:
        if not (self.is_second_time and isinstance(error, NotFoundError)):  # else it was logged
            log.warning("product failed: %s", error)
        is_lasting = error.is_lasting and not self._is_at_mirror(product) and is_proven()
        return Failed(
            product.product_id, error.reason, printable(error, LONGEST_DETAIL), is_lasting
        )

    def _check_host_sends_whole_files(self, product: ProductRow, error: TruncatedError) -> None:
        """Raise HostDown if the archive's other images end too early, too: the host's fault."""
        url = self._place(product)
        host = host_of(url)
        if host is None:
            return
        others = [self._fault(each) for each in self.guard.others(url)]
        if None not in others and any(isinstance(each, TruncatedError) for each in others):
            raise HostDown(host, f"{error}. The other images that were tried end too early, too.")

    def _are_others_sound(self, product: ProductRow) -> bool:
        """Return whether another image of the archive can be decoded.

        If none can, or none is known, the host may be serving all files damaged.
        """
        others = self.guard.others(self._place(product))
        return any(self._fault(each) is None for each in others)

    def _can_another_be_read(self, product: ProductRow) -> bool:
        """Return whether there is memory for another image, so that this one asks for too much."""
        others = self.guard.others(self._place(product))
        return any(self._fault(each) is None for each in others) or is_memory_left()

    def _fault(self, other: OtherImage) -> PdsError | None:
        """Return why another image cannot be decoded; None if it can."""
        try:
            label = self.guard.fetch(other.label_url) if other.label_url else None
            decode(self.guard.fetch(other.image_url), other.image_url, label)
        except PdsError as error:
            return error
        return None

    def _is_at_mirror(self, product: ProductRow) -> bool:
        return self.mirror is not None and is_mirrored(product.image_url)

    def _place(self, product: ProductRow) -> str:
        return url_at_mirror(product.image_url, self.mirror)


def _internal_error(product: ProductRow, error: Exception) -> Failed:
    log.error("product %s could not be rendered", product.product_id, exc_info=error)
    return Failed(product.product_id, INTERNAL_ERROR, f"{type(error).__name__}: {printable(error)}")


def _to_picture(product: ProductRow, files: Files) -> Picture:
    with STAGE_SECONDS.labels("decode").time():
        frame = decode(files.image, product.product_id, files.label)
        _check_size(product, frame)
        return Picture(render(frame), frame.missing_share)


def _check_size(product: ProductRow, frame: Frame) -> None:
    """Raise WrongSizeError if the file's image has another size than its listing states."""
    height, width = frame.pixels.shape
    if (height, width) != (product.lines, product.line_samples):
        raise WrongSizeError(
            f"{product.product_id}: the file contains {height}x{width} pixels, but the listing "
            f"states {product.lines}x{product.line_samples}; list the archive again."
        )
