"""Whether a listing is as long as its label promises."""

import logging

from mernet.pds.errors import ShortListingError

log = logging.getLogger(__name__)


class CompletenessCheck:
    """Compares the rows of tables and inventories with what their labels promise.

    Args:
        accept_short: Whether a listing that ends early is listed as far as it goes.

    Attributes:
        is_short: Whether a listing that ended early was accepted. What it does not list may still
            be in the archive.
    """

    def __init__(self, accept_short: bool = False) -> None:
        self.accept_short = accept_short
        self.is_short = False

    def compare(self, url: str, rows: int, promised: int | None) -> None:
        """Compare the number of rows read to the end with the number in the label, if any.

        Raises:
            ShortListingError: There are fewer rows, and that is not accepted.
        """
        if promised is None or rows == promised:
            return
        if rows > promised:
            log.warning("%s has %d rows; its label promised %d", url, rows, promised)
            return
        problem = f"{url} ends after {rows} of {promised} rows that its label promises"
        if not self.accept_short:
            raise ShortListingError(f"{problem}; fetch it again, or accept a short listing")
        self.is_short = True
        log.warning("%s; it is listed as far as it goes", problem)
