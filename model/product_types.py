"""The types of the products that a classifier learned from, as its checkpoint has them."""

from collections.abc import Mapping

PRODUCT_TYPES = "product_types"
"""The key of the training record with the types of the products, such as EFF, that were learned."""


def learned_product_types(training: Mapping[str, object]) -> frozenset[str]:
    """Return the product types in a checkpoint's training record; empty if it has none."""
    types = training.get(PRODUCT_TYPES)
    found = types if isinstance(types, list) else []
    return frozenset(each for each in found if isinstance(each, str))
