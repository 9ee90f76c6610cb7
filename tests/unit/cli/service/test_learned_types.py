"""A run over products that its classifier did not learn from is warned about."""

import pytest

from mernet.cli.service.learned_types import other_types_warning


def warning(learned: object, products: str) -> str | None:
    return other_types_warning("c", {"training": {"product_types": learned}}, products)


@pytest.mark.parametrize(
    ("learned", "products"), [(["EFF"], "rdr"), (["RAD", "MRD"], "edr"), (["EFF"], "any")]
)
def test_other_products_are_warned_about(learned: list[str], products: str) -> None:
    assert ", ".join(sorted(learned)) in str(warning(learned, products))


@pytest.mark.parametrize(
    ("learned", "products"),
    [(["EFF"], "edr"), (["RAD"], "rdr"), (["EFF", "RAD"], "any"), ([], "rdr"), (None, "rdr")],
)
def test_known_products_and_unknown_training_are_not(learned: object, products: str) -> None:
    assert warning(learned, products) is None


def test_a_header_without_a_record_is_no_reason_to_warn() -> None:
    assert other_types_warning("c", {}, "rdr") is None
    assert other_types_warning("c", {"training": None}, "rdr") is None
