"""Which products a classifier learned from, compared with those of a run."""

from collections.abc import Mapping

from mernet.model.product_types import learned_product_types
from mernet.pds.selection import DERIVED_IMAGES, RAW_IMAGES
from mernet.printable import printable

KINDS = {"raw products (edr)": RAW_IMAGES, "derived products (rdr)": DERIVED_IMAGES}
OF_RUN = {"edr": ("raw products (edr)",), "rdr": ("derived products (rdr)",)}


def other_types_warning(name: str, header: Mapping[str, object], products: str) -> str | None:
    """Return a warning if a run has products of a kind that its classifier did not learn from.

    Args:
        name: The classifier's name.
        header: The header of its checkpoint, as the database has it.
        products: The kind of products of the run: edr, rdr or any.
    """
    training = header.get("training")
    learned = learned_product_types(training) if isinstance(training, Mapping) else frozenset()
    unknown = [kind for kind in OF_RUN.get(products, tuple(KINDS)) if not KINDS[kind] & learned]
    if not learned or not unknown:
        return None
    return (
        f"The classifier {printable(name)} learned from products of type "
        f"{printable(', '.join(sorted(learned)))}, but the run classifies {' and '.join(unknown)} "
        "too: its results for those may be wrong."
    )
