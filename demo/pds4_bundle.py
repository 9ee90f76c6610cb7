"""A small PDS4 bundle: a collection inventory, and an XML label for each data file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mernet.demo.camera import FULL_SCALE, photograph
from mernet.demo.raw_product import clock_of, time_of
from mernet.demo.scenes import Scene, sample_scenes
from mernet.pds.product import ProductName, Rover

PRODUCTS = 12
LINES = 512
SOL = 820
LID = "urn:nasa:pds:drawn_pancam_sample:data"
INVENTORY = "collection_data_inventory.csv"

SAMPLE_TYPES: tuple[tuple[str, str], ...] = (
    ("UnsignedMSB2", ">u2"),
    ("SignedMSB2", ">i2"),
    ("UnsignedLSB2", "<u2"),
    ("IEEE754MSBSingle", ">f4"),
)
"""PDS4 sample types with their numpy types; the products take them in turn."""

LABEL = """\
<?xml version="1.0" encoding="UTF-8"?>
<Product_Observational xmlns="http://pds.nasa.gov/pds4/pds/v1"
    xmlns:msn_surface="http://pds.nasa.gov/pds4/msn_surface/v1">
  <Identification_Area>
    <logical_identifier>{lid}:{product}</logical_identifier>
    <version_id>1.0</version_id>
    <title>Drawn scene in the form of a calibrated Pancam image</title>
    <information_model_version>1.15.0.0</information_model_version>
    <product_class>Product_Observational</product_class>
  </Identification_Area>
  <Observation_Area>
    <Time_Coordinates>
      <start_date_time>{start}</start_date_time>
      <stop_date_time>{start}</stop_date_time>
      <local_true_solar_time>{solar_time}</local_true_solar_time>
    </Time_Coordinates>
    <Investigation_Area>
      <name>Mars Exploration Rover</name>
      <type>Mission</type>
    </Investigation_Area>
    <Observing_System>
      <Observing_System_Component>
        <name>Panoramic Camera</name>
        <type>Instrument</type>
      </Observing_System_Component>
    </Observing_System>
    <Target_Identification>
      <name>Mars</name>
      <type>Planet</type>
    </Target_Identification>
    <Mission_Area>
      <msn_surface:Surface_Mission>
        <msn_surface:sol_number>{sol}</msn_surface:sol_number>
      </msn_surface:Surface_Mission>
    </Mission_Area>
  </Observation_Area>
  <File_Area_Observational>
    <File>
      <file_name>{product}.img</file_name>
    </File>
    <Array_2D_Image>
      <offset unit="byte">0</offset>
      <axes>2</axes>
      <axis_index_order>Last Index Fastest</axis_index_order>
      <Element_Array>
        <data_type>{data_type}</data_type>
      </Element_Array>
      <Axis_Array>
        <axis_name>Line</axis_name>
        <elements>{lines}</elements>
        <sequence_number>1</sequence_number>
      </Axis_Array>
      <Axis_Array>
        <axis_name>Sample</axis_name>
        <elements>{lines}</elements>
        <sequence_number>2</sequence_number>
      </Axis_Array>
    </Array_2D_Image>
  </File_Area_Observational>
</Product_Observational>
"""


@dataclass(frozen=True, slots=True)
class BundleMember:
    """One product of the bundle; `hour` is the local true solar time in hours."""

    name: ProductName
    scene: Scene
    hour: float
    data_type: str
    dtype: str

    @property
    def product(self) -> str:
        """The last part of the LID, and the stem of both files."""
        return self.name.file_stem


def plan_bundle(seed: int, products: int = PRODUCTS) -> list[BundleMember]:
    """Return the bundle's members: calibrated (RAD) products of Spirit's left eye, filter 2."""
    scenes = sample_scenes("bundle", seed, products)
    members = []
    for number, scene in enumerate(scenes):
        hour = 10 + number / 4
        name = ProductName(
            rover=Rover.SPIRIT,
            camera="P",
            clock=clock_of(time_of(Rover.SPIRIT, SOL, hour)),
            product_type="RAD",
            site=124,
            drive=57,
            sequence="P2399",
            eye="L",
            filter=2,
            producer="C",
            version="1",
        )
        members.append(BundleMember(name, scene, hour, *SAMPLE_TYPES[number % len(SAMPLE_TYPES)]))
    return members


def write_bundle(folder: Path, seed: int, products: int = PRODUCTS) -> None:
    """Write the inventory, and the label and data file of each member, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    members = plan_bundle(seed, products)
    for member in members:
        (folder / f"{member.product}.img").write_bytes(member_pixels(member).tobytes())
        (folder / f"{member.product}.xml").write_text(_label(member), encoding="utf-8")
    rows = "".join(f"P,{LID}:{member.product}::1.0\r\n" for member in members)
    (folder / INVENTORY).write_text(rows, encoding="ascii", newline="")


def member_pixels(member: BundleMember) -> NDArray[np.generic]:
    """Return a member's pixels in its own type and byte order; reals are from 0 to 1."""
    pixels = photograph(member.scene, LINES)
    if "f4" in member.dtype:
        return (pixels / FULL_SCALE).astype(member.dtype)
    return pixels.astype(member.dtype)


def _label(member: BundleMember) -> str:
    start = time_of(Rover.SPIRIT, SOL, member.hour)
    minutes = round(member.hour * 60)
    return LABEL.format(
        lid=LID,
        product=member.product,
        start=f"{start:%Y-%m-%dT%H:%M:%S}.000Z",
        solar_time=f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        sol=SOL,
        data_type=member.data_type,
        lines=LINES,
    )
