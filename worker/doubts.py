"""What a listing leaves out although the archive may list it: that does not count as withdrawn."""

import re
from dataclasses import dataclass, field

from mernet.pds.archive import ArchiveKind
from mernet.pds.errors import BadNameError
from mernet.pds.label_batches import TRANSIENT_REASONS
from mernet.pds.product import ProductName
from mernet.pds.selection import LeftOut, LeftOutReason

# The next listing may not have these, although its files are the same: they come from labels, which
# are not checked for changes, or from a table that was damaged on its way.
PASSING = frozenset(
    {*TRANSIENT_REASONS, LeftOutReason.UNREADABLE_ROW, LeftOutReason.UNREADABLE_FILE}
)
# Behind these there may be a product that was listed before.
DOUBTFUL = PASSING | {LeftOutReason.UNREADABLE_NAME, LeftOutReason.SIZE_NOT_AVAILABLE}
# A product's name has many digits, so this is another file's, such as `overview` in a collection.
OTHER_NAME = re.compile(r"[A-Za-z._-]+")


@dataclass(slots=True)
class Doubts:
    """What the listing of an archive left out although the archive may list it.

    Attributes:
        kind: The archive's kind. A folder's own files have the names that they have.
        product_ids: The ids of products that are listed, but whose row or label cannot be used.
        unknown: How many products are listed by a name that cannot be read.
        may_pass: Whether the next listing may be without a doubt, though no file has changed.
    """

    kind: ArchiveKind
    product_ids: list[str] = field(default_factory=list)
    unknown: int = 0
    may_pass: bool = False

    def note(self, left_out: LeftOut) -> None:
        """Note a row that is left out, if the product in it may still be in the archive."""
        if left_out.reason not in DOUBTFUL:
            return
        is_unknown = False
        try:
            self.product_ids.append(str(ProductName.parse(left_out.name)))
        except BadNameError:
            is_unknown = self._may_be_any_product(left_out)
        self.unknown += is_unknown
        self.may_pass |= is_unknown or left_out.reason in PASSING

    def _may_be_any_product(self, left_out: LeftOut) -> bool:
        """Return whether a row without a readable name may be of any product.

        A folder also has files that are no products; only a folder in it may hide some.
        """
        if self.kind is ArchiveKind.FOLDER:
            return left_out.reason is LeftOutReason.UNREADABLE_FILE
        is_name = left_out.reason is LeftOutReason.UNREADABLE_NAME
        return not (is_name and OTHER_NAME.fullmatch(left_out.name))
