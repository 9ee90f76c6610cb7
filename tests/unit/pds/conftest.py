"""Small products in the real formats, which tests may change."""

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

RECORD_BYTES = 128
LABEL_RECORDS = 20

PDS3_LABEL = """PDS_VERSION_ID = PDS3
RECORD_TYPE = FIXED_LENGTH
RECORD_BYTES = {record_bytes}
FILE_RECORDS = {file_records}
^IMAGE_HEADER = {header}
^IMAGE = {pointer}
DATA_SET_ID = "MER1-M-PANCAM-2-{data_set}-OPS-V1.0"
LOCAL_TRUE_SOLAR_TIME = "13:56:50"
PLANET_DAY_NUMBER = {sol}
PRODUCT_ID = "1P128287181EFF0000P2303L2M1"
START_TIME = {start_time}
GROUP = OBSERVATION_REQUEST_PARMS
 FILTER_NAME = PANCAM_L2_753NM
END_GROUP = OBSERVATION_REQUEST_PARMS
GROUP = THUMBNAIL_REQUEST_PARMS
 LINES = 64
 LINE_SAMPLES = 64
END_GROUP = THUMBNAIL_REQUEST_PARMS
OBJECT = IMAGE
 LINES = {lines}
 LINE_SAMPLES = {line_samples}
 SAMPLE_TYPE = {sample_type}
 SAMPLE_BITS = {sample_bits}
 BANDS = {bands}
 CHECKSUM = {checksum}
 SAMPLE_BIT_MASK = 2#0000111111111111#
END_OBJECT = IMAGE
END
"""

COLUMNS = ("PATH_NAME", "FILE_NAME", "ROVER_MOTION_COUNTER", "PLANET_DAY_NUMBER", "START_TIME",
           "LOCAL_TRUE_SOLAR_TIME", "LINES", "LINE_SAMPLES")  # fmt: skip
INDEX_LABEL = "\r\n".join(
    [
        "PDS_VERSION_ID = PDS3",
        '^INDEX_TABLE = "EDRINDEX.TAB"',
        "OBJECT = INDEX_TABLE",
        *(
            f"OBJECT = COLUMN\r\nNAME = {name}\r\n"
            + ("ITEMS = 5\r\n" if name == "ROVER_MOTION_COUNTER" else "")
            + "END_OBJECT = COLUMN"
            for name in COLUMNS
        ),
        "END_OBJECT = INDEX_TABLE",
        "END",
    ]
)
INDEX_ROW = (
    '"{path}  "\t"{name}"\t0 \t0 \t1 \t34\t0 \t{sol}  \t{start_time}\t"{local_solar_time} "'
    "\t{lines} \t{line_samples} "
)

PDS4_LABEL = """<?xml version="1.0" encoding="UTF-8"?>
<Product_Observational xmlns="http://pds.nasa.gov/pds4/pds/v1"
  xmlns:msn="http://pds.nasa.gov/pds4/msn_surface/v1">
  <Identification_Area>
    <logical_identifier>urn:nasa:pds:bundle:data:{product}</logical_identifier>
    <version_id>1.0</version_id>
    <information_model_version>1.11.0.0</information_model_version>
    <product_class>Product_Observational</product_class>
  </Identification_Area>
  <Observation_Area>
    <Time_Coordinates>
      <start_date_time>2004-01-25T07:18:28.5Z</start_date_time>
    </Time_Coordinates>
    <Mission_Area>
      <msn:sol_number>12</msn:sol_number>
      <msn:local_true_solar_time>13:56:50</msn:local_true_solar_time>
    </Mission_Area>
  </Observation_Area>
  <File_Area_Observational>
    <File><file_name>{file_name}</file_name></File>
    <Array_2D_Image>
      <offset unit="byte">{offset}</offset>
      <axes>2</axes>
      <axis_index_order>Last Index Fastest</axis_index_order>
      <Element_Array><data_type>{sample_type}</data_type></Element_Array>
      <Axis_Array><axis_name>Line</axis_name><elements>{lines}</elements>
        <sequence_number>1</sequence_number></Axis_Array>
      <Axis_Array><axis_name>Sample</axis_name><elements>{line_samples}</elements>
        <sequence_number>2</sequence_number></Axis_Array>
      <Special_Constants><missing_constant>-1.0e32</missing_constant></Special_Constants>
    </Array_2D_Image>
  </File_Area_Observational>
</Product_Observational>
"""


def _pds3_product(pixels: np.ndarray, dtype: str = ">i2", **changes: object) -> bytes:
    """A PDS3 file: attached label, VICAR header, pixels of a type; `changes` alter the label."""
    data = pixels.astype(dtype).tobytes()
    data += bytes(-len(data) % RECORD_BYTES)
    values: dict[str, object] = {
        "record_bytes": RECORD_BYTES,
        "file_records": LABEL_RECORDS + 1 + len(data) // RECORD_BYTES,
        "header": LABEL_RECORDS + 1,
        "pointer": LABEL_RECORDS + 2,
        "data_set": "EDR",
        "sol": 12,
        "start_time": "2004-01-25T07:18:28.500",
        "lines": pixels.shape[0],
        "line_samples": pixels.shape[1],
        "sample_type": "MSB_INTEGER",
        "sample_bits": np.dtype(dtype).itemsize * 8,
        "bands": 1,
        "checksum": f"{pixels.sum(dtype=np.float64):.6g}",
    }
    label = PDS3_LABEL.format(**(values | changes)).replace("\n", "\r\n").encode()
    header = b"LBLSIZE=128 FORMAT='HALF' TYPE='IMAGE'"
    return label.ljust(LABEL_RECORDS * RECORD_BYTES) + header.ljust(RECORD_BYTES, b"\0") + data


def _pds4_label(pixels: np.ndarray, sample_type: str, **changes: object) -> bytes:
    """The label of a data file that has only the pixels; `changes` alter the label."""
    values: dict[str, object] = {
        "product": "2p129641989rad0361p2600l2c1",
        "file_name": "2p129641989rad0361p2600l2c1.img",
        "offset": 0,
        "sample_type": sample_type,
        "lines": pixels.shape[0],
        "line_samples": pixels.shape[1],
    }
    return PDS4_LABEL.format(**(values | changes)).encode()


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """12-bit pixels, 24 lines of 16 samples."""
    return np.random.default_rng(7).integers(0, 4096, (24, 16), np.int16)


@pytest.fixture(scope="session")
def pds3_product() -> Callable[..., bytes]:
    """Makes a PDS3 file of pixels."""
    return _pds3_product


@pytest.fixture
def volume(tmp_path: Path) -> Callable[..., Path]:
    """Makes a PDS3 volume of index rows."""

    def make(rows: Iterable[bytes], *, name: str = "EDRINDEX.TAB", packed: bool = False) -> Path:
        index = tmp_path / "mer1po_0xxx" / "index"
        index.mkdir(parents=True, exist_ok=True)
        (index / "edrindex.lbl").write_text(INDEX_LABEL)
        table = b"".join(row + b"\r\n" for row in rows)
        (index / name).write_bytes(gzip.compress(table) if packed else table)
        return index.parent

    return make


@pytest.fixture(scope="session")
def index_row() -> Callable[..., bytes]:
    """Makes a row of an index table: quoted and padded text, numbers, tabs in between."""

    def make(name: str = "1p128287181eff0000p2303l2m1", **changes: object) -> bytes:
        values: dict[str, object] = {
            "path": "/mer1po_0xxx/data/sol0012/edr/",
            "sol": 12,
            "start_time": "2004-01-25T07:18:28Z",
            "local_solar_time": "15:32:30",
            "lines": 1024,
            "line_samples": 1024,
        }
        return INDEX_ROW.format(name=f"{name}.img ", **(values | changes)).encode()

    return make


@pytest.fixture(scope="session")
def pds4_label() -> Callable[..., bytes]:
    """Makes a PDS4 label of pixels."""
    return _pds4_label
