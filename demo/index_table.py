"""The index of an operations volume, edrindex.lbl and edrindex.tab, with the real ones' errors."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mernet.demo.raw_product import Edr

Kind = Literal["CHARACTER", "TIME", "ASCII_INTEGER", "ASCII_REAL"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: name, kind, bytes of one item without quotes, and number of items."""

    name: str
    kind: Kind
    width: int
    items: int = 1

    def fields(self, value: object) -> list[str]:
        """Return a value as fields of the table: left-justified, blank-padded, text in quotes."""
        values = value if isinstance(value, tuple) else (value,)
        padded = [f"{item:<{self.width}}"[: self.width] for item in map(str, values)]
        return [f'"{text}"' for text in padded] if self.kind == "CHARACTER" else padded


COLUMNS: tuple[Column, ...] = (
    Column("VOLUME_ID", "CHARACTER", 11),
    Column("DATA_SET_ID", "CHARACTER", 40),
    Column("INSTRUMENT_HOST_ID", "CHARACTER", 4),
    Column("INSTRUMENT_ID", "CHARACTER", 18),
    Column("PATH_NAME", "CHARACTER", 65),
    Column("FILE_NAME", "CHARACTER", 32),
    Column("RELEASE_ID", "CHARACTER", 4),
    Column("PRODUCT_ID", "CHARACTER", 27),
    Column("PRODUCT_CREATION_TIME", "TIME", 20),
    Column("TARGET_NAME", "CHARACTER", 6),
    Column("MISSION_PHASE_NAME", "CHARACTER", 30),
    Column("PLANET_DAY_NUMBER", "ASCII_INTEGER", 4),
    Column("START_TIME", "TIME", 20),
    Column("STOP_TIME", "TIME", 20),
    Column("EARTH_RECEIVED_START_TIME", "TIME", 20),
    Column("EARTH_RECEIVED_STOP_TIME", "TIME", 20),
    Column("SPACECRAFT_CLOCK_START_COUNT", "CHARACTER", 30),
    Column("SPACECRAFT_CLOCK_STOP_COUNT", "CHARACTER", 30),
    Column("SEQUENCE_ID", "CHARACTER", 30),
    Column("OBSERVATION_ID", "CHARACTER", 20),
    Column("LOCAL_TRUE_SOLAR_TIME", "CHARACTER", 12),
    Column("LINES", "ASCII_INTEGER", 4),
    Column("LINE_SAMPLES", "ASCII_INTEGER", 4),
    Column("FIRST_LINE", "ASCII_INTEGER", 4),
    Column("FIRST_LINE_SAMPLE", "ASCII_INTEGER", 4),
    Column("INSTRUMENT_SERIAL_NUMBER", "CHARACTER", 4),
    Column("INSTRUMENT_MODE_ID", "CHARACTER", 20),
    Column("INST_CMPRS_RATIO", "ASCII_REAL", 12),
    Column("INST_CMPRS_MODE", "ASCII_INTEGER", 4),
    Column("INST_CMPRS_FILTER", "CHARACTER", 1),
    Column("IMAGE_ID", "CHARACTER", 12),
    Column("IMAGE_TYPE", "CHARACTER", 10),
    Column("EXPOSURE_DURATION", "ASCII_REAL", 13),
    Column("ERROR_PIXELS", "ASCII_INTEGER", 11),
    Column("FILTER_NAME", "CHARACTER", 22),
    Column("FILTER_NUMBER", "ASCII_INTEGER", 4),
    Column("FRAME_ID", "CHARACTER", 5),
    Column("FRAME_TYPE", "CHARACTER", 6),
    Column("AZIMUTH_FOV", "ASCII_REAL", 10),
    Column("ELEVATION_FOV", "ASCII_REAL", 10),
    Column("SITE_INSTRUMENT_AZIMUTH", "ASCII_REAL", 10),
    Column("SITE_INSTRUMENT_ELEVATION", "ASCII_REAL", 10),
    Column("ROVER_INSTRUMENT_AZIMUTH", "ASCII_REAL", 10),
    Column("ROVER_INSTRUMENT_ELEVATION", "ASCII_REAL", 10),
    Column("SOLAR_AZIMUTH", "ASCII_REAL", 11),
    Column("SOLAR_ELEVATION", "ASCII_REAL", 11),
    Column("SOLAR_LONGITUDE", "ASCII_REAL", 11),
    Column("APPLICATION_PROCESS_ID", "ASCII_INTEGER", 4),
    Column("REFERENCE_COORD_SYSTEM_NAME", "CHARACTER", 20),
    Column("TELEMETRY_SOURCE_NAME", "CHARACTER", 60),
    Column("ROVER_MOTION_COUNTER", "ASCII_INTEGER", 6, items=5),
    Column("FLAT_FIELD_CORRECTION_FLAG", "CHARACTER", 1),
    Column("SHUTTER_EFFECT_CORRECTION_FLAG", "CHARACTER", 1),
    Column("PIXEL_AVERAGING_HEIGHT", "ASCII_INTEGER", 4),
    Column("PIXEL_AVERAGING_WIDTH", "ASCII_INTEGER", 4),
)
"""The 55 columns of the real tables, in their order and widths."""

OFF_BY_ONE = ("PRODUCT_CREATION_TIME", "SOLAR_LONGITUDE")
"""Columns whose START_BYTE in the label is one too low, as happens in real labels."""


def table(edrs: Iterable[Edr]) -> str:
    """Return the table: a row for each product, fields separated by tabs, rows ended by CR LF."""
    return "".join(_row_text(edr) for edr in edrs)


def label(rows: int) -> str:
    """Return the table's label; it gives a row one byte too few, as the real one does."""
    column_texts, start = [], 1
    for number, column in enumerate(COLUMNS, start=1):
        quote = 1 if column.kind == "CHARACTER" else 0
        declared = start + quote - (1 if column.name in OFF_BY_ONE else 0)
        column_texts.append(_column_text(number, column, declared))
        start += (column.width + 2 * quote + 1) * column.items
    row_bytes = start - 1  # CR takes the place of the last tab; the label does not count LF
    text = HEAD.format(row_bytes=row_bytes, rows=rows, columns=len(COLUMNS))
    return (text + "\n".join(column_texts) + TAIL).replace("\n", "\r\n")


HEAD = """\
PDS_VERSION_ID                = PDS3
RECORD_TYPE                   = FIXED_LENGTH
RECORD_BYTES                  = {row_bytes}
FILE_RECORDS                  = {rows}
^INDEX_TABLE                  = "EDRINDEX.TAB"
MISSION_NAME                  = "MARS EXPLORATION ROVER"
DESCRIPTION                   = "Index of a sample volume of drawn scenes; no
                                 picture in it was taken on Mars."

OBJECT                        = INDEX_TABLE
  INTERCHANGE_FORMAT          = ASCII
  ROW_BYTES                   = {row_bytes}
  ROWS                        = {rows}
  COLUMNS                     = {columns}
  INDEX_TYPE                  = SINGLE

"""
TAIL = """
END_OBJECT                    = INDEX_TABLE

END
"""


def _column_text(number: int, column: Column, start: int) -> str:
    bytes_of_column = column.width * column.items + (column.items - 1)
    keywords: list[tuple[str, object]] = [
        ("COLUMN_NUMBER", number),
        ("NAME", column.name),
        ("DATA_TYPE", column.kind),
        ("START_BYTE", start),
        ("BYTES", bytes_of_column),
    ]
    if column.items > 1:
        keywords += [
            ("ITEMS", column.items),
            ("ITEM_BYTES", column.width),
            ("ITEM_OFFSET", column.width + 1),
        ]
    lines = "".join(f"    {key:<26}= {value}\n" for key, value in keywords)
    return (
        f"  OBJECT                      = COLUMN\n{lines}  END_OBJECT                  = COLUMN\n"
    )


def _row_text(edr: Edr) -> str:
    values = _values_by_column(edr)
    fields = [field for column in COLUMNS for field in column.fields(values[column.name])]
    return "\t".join(fields) + "\r\n"


def _values_by_column(edr: Edr) -> dict[str, object]:
    """Return a row's values by column; those that the service does not read are constants."""
    return (
        _identity_columns(edr) | _time_columns(edr) | _image_columns(edr) | _pointing_columns(edr)
    )


def _identity_columns(edr: Edr) -> dict[str, object]:
    mission, name = edr.mission, edr.name
    return {
        "VOLUME_ID": mission.volume,
        "DATA_SET_ID": f"{mission.host_id}-M-PANCAM-2-EDR-OPS-V1.0",
        "INSTRUMENT_HOST_ID": mission.host_id,
        "INSTRUMENT_ID": f"PANCAM_{edr.eye}",
        "PATH_NAME": edr.path_name,
        "FILE_NAME": edr.file_name,
        "RELEASE_ID": "0001",
        "PRODUCT_ID": name,
        "TARGET_NAME": "MARS",
        "MISSION_PHASE_NAME": edr.phase,
        "SEQUENCE_ID": name.sequence.lower(),
        "OBSERVATION_ID": "0",
        "INSTRUMENT_SERIAL_NUMBER": mission.serial,
        "IMAGE_ID": f"{name.clock % 10**7}",
        "APPLICATION_PROCESS_ID": 21,
        "REFERENCE_COORD_SYSTEM_NAME": "ROVER_FRAME",
        "TELEMETRY_SOURCE_NAME": f"021_001_{name.sequence.lower()}_{name.clock}.dat",
        "ROVER_MOTION_COUNTER": edr.motion,
    }


def _time_columns(edr: Edr) -> dict[str, object]:
    """Return times to the second; after sol 2000 they lack the Z, as in some real indexes."""
    zone = "Z" if edr.sol <= 2000 else ""
    start, created = (f"{moment:%Y-%m-%dT%H:%M:%S}{zone}" for moment in (edr.start, edr.created))
    return {
        "PRODUCT_CREATION_TIME": created,
        "PLANET_DAY_NUMBER": edr.sol,
        "START_TIME": start,
        "STOP_TIME": start,
        "EARTH_RECEIVED_START_TIME": created,
        "EARTH_RECEIVED_STOP_TIME": created,
        "SPACECRAFT_CLOCK_START_COUNT": f"{edr.name.clock}.000",
        "SPACECRAFT_CLOCK_STOP_COUNT": f"{edr.name.clock}.220",
        "LOCAL_TRUE_SOLAR_TIME": edr.solar_time,
    }


def _image_columns(edr: Edr) -> dict[str, object]:
    return {
        "LINES": edr.lines,
        "LINE_SAMPLES": edr.line_samples,
        "FIRST_LINE": 1,
        "FIRST_LINE_SAMPLE": 1,
        "INSTRUMENT_MODE_ID": "FULL_FRAME",
        "INST_CMPRS_RATIO": "14.961700",
        "INST_CMPRS_MODE": 2,
        "INST_CMPRS_FILTER": "A",
        "IMAGE_TYPE": "REGULAR",
        "EXPOSURE_DURATION": "220.160000",
        "ERROR_PIXELS": 0,
        "FILTER_NAME": edr.filter_name,
        "FILTER_NUMBER": edr.name.filter,
        "FRAME_ID": edr.eye,
        "FRAME_TYPE": "MONO",
        "FLAT_FIELD_CORRECTION_FLAG": 0,
        "SHUTTER_EFFECT_CORRECTION_FLAG": 1,
        "PIXEL_AVERAGING_HEIGHT": edr.averaging,
        "PIXEL_AVERAGING_WIDTH": edr.averaging,
    }


def _pointing_columns(edr: Edr) -> dict[str, object]:
    azimuth = f"{15 * edr.hour - 180:.6f}"
    return {
        "AZIMUTH_FOV": "15.841200",
        "ELEVATION_FOV": "15.841200",
        "SITE_INSTRUMENT_AZIMUTH": azimuth,
        "SITE_INSTRUMENT_ELEVATION": "-6.212310",
        "ROVER_INSTRUMENT_AZIMUTH": azimuth,
        "ROVER_INSTRUMENT_ELEVATION": "-1.280280",
        "SOLAR_AZIMUTH": azimuth,
        "SOLAR_ELEVATION": "36.723700",
        "SOLAR_LONGITUDE": f"{edr.sol * 360 / 668.6 % 360:.6f}",
    }
