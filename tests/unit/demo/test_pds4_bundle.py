"""The PDS4 bundle, read by pds4_tools and listed by the service."""

from pathlib import Path

import numpy as np
import pds4_tools
import pytest

from mernet.demo.pds4_bundle import (
    INVENTORY,
    PRODUCTS,
    SAMPLE_TYPES,
    BundleMember,
    member_pixels,
    plan_bundle,
)
from mernet.pds.archive import resolve
from mernet.pds.fetch import Fetcher
from mernet.pds.image import decode
from mernet.pds.listing import LeftOut, Selection, list_products


@pytest.fixture(scope="module")
def bundle(archive: Path) -> Path:
    return archive / "pds4"


@pytest.fixture(scope="module")
def members() -> list[BundleMember]:
    return plan_bundle(seed=3)


def test_the_inventory_has_a_primary_member_a_row(
    bundle: Path, members: list[BundleMember]
) -> None:
    rows = (bundle / INVENTORY).read_bytes().split(b"\r\n")
    assert rows.pop() == b""
    assert len(rows) == len(members) == PRODUCTS
    for row, member in zip(rows, members, strict=True):
        assert row.startswith(b"P,urn:nasa:pds:")
        assert row.endswith(f":{member.product}::1.0".encode())


def test_pds4_tools_reads_every_sample_type(bundle: Path, members: list[BundleMember]) -> None:
    for member in members[: len(SAMPLE_TYPES)]:
        structures = pds4_tools.read(str(bundle / f"{member.product}.xml"), quiet=True)
        np.testing.assert_array_equal(structures[0].data, member_pixels(member))
    assert {member.data_type for member in members} == {name for name, _ in SAMPLE_TYPES}


def test_the_service_lists_and_decodes_the_bundle(
    bundle: Path, members: list[BundleMember]
) -> None:
    left_out: list[LeftOut] = []
    selection = Selection(products="rdr")
    with Fetcher() as fetcher:
        products = list(
            list_products(
                [resolve(str(bundle))], selection, fetcher, left_out.append, lambda _: None
            )
        )
        assert not left_out
        assert [product.name for product in products] == [member.name for member in members]
        for product, member in zip(products[:4], members, strict=False):
            assert product.label_url is not None
            data, label = fetcher.fetch(product.image_url), fetcher.fetch(product.label_url)
            frame = decode(data, product.product_id, label)
            np.testing.assert_array_equal(frame.pixels, member_pixels(member))
            assert product.sol == 820
