"""The selection of products by name, type and size, and the reasons for leaving others out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from mernet.pds.errors import BadNameError
from mernet.pds.label import LabelFacts
from mernet.pds.plain_name import is_plain_file_name
from mernet.pds.product import Product, ProductName
from mernet.printable import printable

ProductKind = Literal["edr", "rdr", "any"]
"""Raw products, derived ones, or both."""

RAW_IMAGES = frozenset({"EFF", "EDN", "ESF", "ETH"})
# Derived products that are pictures, by family, each type with its linearized form. In the naming
# convention (MER Camera EDR/RDR Operations Software Interface Specification, "product type"; also
# "File naming for MER OPGS EDRs and single frame RDRs" of the Analyst's Notebook) the letters say
# the processing, then full frame, sub-frame, downsampled or thumbnail; L at the end is linearized.
# All other types hold coordinates (XYZ, XYL), ranges (RNG, RNL), disparities (DSP), normals (UVW),
# slopes (SLP), roughness (RUF), reachability (IDD) or masks (MSK). The letter N for "downsampled"
# is left out where such a type has the same name.
DERIVED_FAMILIES = {
    "linearized": "FFL SFL DNL THN THL",
    "decompressed by the inverse lookup table": "ILF ILL ISF ISL INN INL ITH ITL",
    "radiance": "RAD RAL RSD RSL RDD RDL RTD RTL",
    "radiance scaled to the mission's range": "MRD MRL MSD MSL MDD MDL MTD MTL",
    "radiance factor I/F": "IOF IOL",
}
DERIVED_IMAGES = frozenset(" ".join(DERIVED_FAMILIES.values()).split())
IMAGES = RAW_IMAGES | DERIVED_IMAGES
HIGH_RESOLUTION = frozenset({(512, 512), (1024, 1024)})


class LeftOutReason(StrEnum):
    """The reason why a listed row is left out."""

    UNREADABLE_ROW = "unreadable row"
    UNREADABLE_NAME = "unreadable name"
    UNREADABLE_LABEL = "unreadable label"
    UNREADABLE_FILE = "unreadable file or folder"
    LABEL_NOT_FOUND = "label not found"
    SECONDARY_MEMBER = "secondary member of the collection"
    GROUND_MODEL = "ground model rover"
    NOT_PANCAM = "not Pancam"
    NOT_LEFT_EYE = "not left eye"
    NOT_FILTER_2 = "not filter 2"
    NOT_AN_IMAGE = "not an image type"
    NOT_RAW = "not a raw product"
    NOT_DERIVED = "not a derived product"
    LINK_OUT_OF_FOLDER = "link that leads out of the folder"
    SIZE_NOT_AVAILABLE = "size not available"
    NOT_HIGH_RESOLUTION = "not 512x512 or 1024x1024"
    SUPERSEDED = "superseded by a higher version"
    LISTED_TWICE = "listed already"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A listed row that is left out: its name, or its number if it has no name, and the reason."""

    name: str
    reason: LeftOutReason


@dataclass(frozen=True, slots=True)
class Selection:
    """The abstract's selection of images: left-eye Pancam, filter 2, 512x512 or 1024x1024.

    `products` selects raw products (edr), derived products (rdr) or both (any).
    """

    products: ProductKind = "edr"

    def wanted_name(self, text: str) -> ProductName | LeftOut:
        """Parse a file name or identifier; return the name, or left out if it is not selected.

        What is not a plain file name is no product's name, whatever it begins with.
        """
        try:
            name = ProductName.parse(text)
        except BadNameError:
            return LeftOut(printable(text), LeftOutReason.UNREADABLE_NAME)
        reason = self._reason_against(name)
        if reason:
            return LeftOut(text if text.isprintable() else printable(text), reason)
        if not is_plain_file_name(text):
            return LeftOut(printable(text), LeftOutReason.UNREADABLE_NAME)
        return name

    def _reason_against(self, name: ProductName) -> LeftOutReason | None:
        """Return the first reason to leave out a product for its name, None without a reason."""
        if not name.rover.is_on_mars:
            return LeftOutReason.GROUND_MODEL
        if name.camera != "P":
            return LeftOutReason.NOT_PANCAM
        if name.eye != "L":
            return LeftOutReason.NOT_LEFT_EYE
        if name.filter != 2:
            return LeftOutReason.NOT_FILTER_2
        if name.product_type not in IMAGES:
            return LeftOutReason.NOT_AN_IMAGE
        return self._reason_against_kind(is_raw=name.product_type.startswith("E"))

    def _reason_against_kind(self, is_raw: bool) -> LeftOutReason | None:
        if self.products == "edr" and not is_raw:
            return LeftOutReason.NOT_RAW
        if self.products == "rdr" and is_raw:
            return LeftOutReason.NOT_DERIVED
        return None

    def product(
        self, file_name: str, facts: LabelFacts, image_url: str, label_url: str | None
    ) -> Product | LeftOut:
        """Return the product that its own label describes, or left out for its size."""
        reason = self.reason_against_size(facts.lines, facts.line_samples)
        if reason:
            return LeftOut(file_name, reason)
        name = ProductName.parse(file_name)
        return Product(
            name=name,
            image_url=image_url,
            label_url=label_url,
            browse_url=None,
            lines=facts.lines,
            line_samples=facts.line_samples,
            sol=facts.sol,
            site=facts.site if name.site is None else name.site,
            drive=facts.drive if name.drive is None else name.drive,
            start_time=facts.start_time,
            local_solar_time=facts.local_solar_time,
        )

    def reason_against_size(self, lines: int, line_samples: int) -> LeftOutReason | None:
        """Return the reason to leave out an image for its size, None for the right size."""
        fits = (lines, line_samples) in HIGH_RESOLUTION
        return None if fits else LeftOutReason.NOT_HIGH_RESOLUTION
