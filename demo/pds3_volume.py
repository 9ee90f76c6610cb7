"""Raw products in the format of the operations volumes: ODL label, VICAR header, pixels."""

import numpy as np

from mernet.demo.camera import Pixels
from mernet.demo.raw_product import Edr

LABEL = """\
PDS_VERSION_ID                    = PDS3

/* FILE DATA ELEMENTS */

RECORD_TYPE                       = FIXED_LENGTH
RECORD_BYTES                      = {record_bytes}
FILE_RECORDS                      = {file_records:<6}
LABEL_RECORDS                     = {label_records:<6}

/* POINTERS TO DATA OBJECTS */

^IMAGE_HEADER                     = {header_record:<6}
^IMAGE                            = {image_record:<6}

/* IDENTIFICATION DATA ELEMENTS */

 DATA_SET_ID                      = "{host_id}-M-PANCAM-2-EDR-OPS-V1.0"
 DATA_SET_NAME                    = "DRAWN SCENES IN THE FORM OF THE {host_id}
                                     PANORAMIC CAMERA EDR OPS VERSION 1.0"
 FRAME_ID                         = {eye}
 FRAME_TYPE                       = MONO
 GEOMETRY_PROJECTION_TYPE         = RAW
 IMAGE_TYPE                       = REGULAR
 INSTRUMENT_HOST_ID               = {host_id}
 INSTRUMENT_HOST_NAME             = "{host_name}"
 INSTRUMENT_ID                    = PANCAM_{eye}
 INSTRUMENT_NAME                  = "PANORAMIC CAMERA {eye}"
 INSTRUMENT_SERIAL_NUMBER         = {serial}
 LOCAL_TRUE_SOLAR_TIME            = "{solar_time}"
 MISSION_NAME                     = "MARS EXPLORATION ROVER"
 MISSION_PHASE_NAME               = "{phase}"
 PLANET_DAY_NUMBER                = {sol}
 PRODUCT_CREATION_TIME            = "{created:%Y-%m-%dT%H:%M:%S}.000Z"
 PRODUCT_ID                       = "{name}"
 ROVER_MOTION_COUNTER             = {motion}
 ROVER_MOTION_COUNTER_NAME        = (SITE,DRIVE,IDD,PMA,HGA)
 SEQUENCE_ID                      = {sequence}
 SPACECRAFT_CLOCK_START_COUNT     = "{clock}.000"
 START_TIME                       = "{start:%Y-%m-%dT%H:%M:%S}.000Z"
 TARGET_NAME                      = MARS

/* OBSERVATION REQUEST */

GROUP                             = OBSERVATION_REQUEST_PARMS
  COMMAND_INSTRUMENT_ID           = PANCAM_{eye}
  FILTER_NAME                     = {filter_name}
  EXPOSURE_TYPE                   = AUTO
END_GROUP                         = OBSERVATION_REQUEST_PARMS

/* THUMBNAIL REQUEST */

GROUP                             = THUMBNAIL_REQUEST_PARMS
  LINES                           = 64
  LINE_SAMPLES                    = 64
END_GROUP                         = THUMBNAIL_REQUEST_PARMS

/* INSTRUMENT STATE RESULTS */

GROUP                             = INSTRUMENT_STATE_PARMS
  FILTER_NAME                     = {filter_name}
  FILTER_NUMBER                   = {filter_number}
  PIXEL_AVERAGING_HEIGHT          = {averaging}
  PIXEL_AVERAGING_WIDTH           = {averaging}
  SAMPLE_BIT_MODE_ID              = "{bit_mode}"
END_GROUP                         = INSTRUMENT_STATE_PARMS

/* COMPRESSION RESULTS */

GROUP                             = COMPRESSION_PARMS
  INST_CMPRS_NAME                 = "ICER ADAPTIVE VARIABLE-LENGTH CODING
                                     (ICER)"
  INST_CMPRS_SEG_LINES            = 64
  INST_CMPRS_SEG_SAMPLES          = 64
END_GROUP                         = COMPRESSION_PARMS

/* IMAGE DATA ELEMENTS */

OBJECT                            = IMAGE
  INTERCHANGE_FORMAT              = BINARY
  LINES                           = {lines}
  LINE_SAMPLES                    = {line_samples}
  SAMPLE_TYPE                     = MSB_INTEGER
  SAMPLE_BITS                     = 16
  BANDS                           = 1
  BAND_STORAGE_TYPE               = BAND_SEQUENTIAL
  CHECKSUM                        = {checksum:.6g}
  FIRST_LINE                      = 1
  FIRST_LINE_SAMPLE               = 1
  INVALID_CONSTANT                = 0.0
  MAXIMUM                         = {maximum:.1f}
  MEAN                            = {mean:.6g}
  MINIMUM                         = {minimum:.1f}
  MISSING_CONSTANT                = 0.0
  SAMPLE_BIT_MASK                 = 2#{bit_mask}#
END_OBJECT                        = IMAGE

/* IMAGE HEADER DATA ELEMENTS */

OBJECT                            = IMAGE_HEADER
  HEADER_TYPE                     = VICAR2
  INTERCHANGE_FORMAT              = ASCII
  BYTES                           = {header_bytes}
  ^DESCRIPTION                    = "VICAR2.TXT"
END_OBJECT                        = IMAGE_HEADER
END
"""
"""The keywords of real labels that readers need, in their order. LINES occurs in three groups; only
the one in OBJECT = IMAGE is the image's. A line with END alone ends the label."""


def product_bytes(edr: Edr, pixels: Pixels) -> bytes:
    """Return a file: label, VICAR header and big-endian pixels, each beginning with a record.

    A record has the size of one line of the image, as in the archive.
    """
    record = 2 * edr.line_samples
    header = _padded(_vicar_header(edr, record), record, b"\0")
    fields = _fields(edr, pixels) | {"record_bytes": record, "header_bytes": len(header)}
    pointers = ("file_records", "label_records", "header_record", "image_record")
    draft = LABEL.format_map(fields | dict.fromkeys(pointers, 0))
    label_records = len(_padded(_odl(draft), record, b" ")) // record
    header_record = label_records + 1
    image_record = header_record + len(header) // record
    places = (image_record - 1 + edr.lines, label_records, header_record, image_record)
    label = LABEL.format_map(fields | dict(zip(pointers, places, strict=True)))
    return _padded(_odl(label), record, b" ") + header + pixels.astype(">u2").tobytes()


def _odl(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("ascii")


def _padded(data: bytes, record: int, fill: bytes) -> bytes:
    """Fill the data up to whole records."""
    return data + fill * (-len(data) % record)


def _fields(edr: Edr, pixels: Pixels) -> dict[str, object]:
    mission = edr.mission
    return {
        "host_id": mission.host_id,
        "host_name": mission.host_name,
        "serial": mission.serial,
        "eye": edr.eye,
        "solar_time": edr.solar_time,
        "phase": edr.phase,
        "sol": edr.sol,
        "name": edr.name,
        "motion": str(edr.motion).replace(" ", ""),
        "sequence": edr.name.sequence.lower(),
        "clock": edr.name.clock,
        "start": edr.start,
        "created": edr.created,
        "filter_name": edr.filter_name,
        "filter_number": edr.name.filter,
        "averaging": edr.averaging,
        "bit_mode": "LUT3" if edr.companded else "NONE",
        "bit_mask": "0000000011111111" if edr.companded else "0000111111111111",
        "lines": edr.lines,
        "line_samples": edr.line_samples,
        "checksum": float(pixels.sum(dtype=np.int64)),
        "maximum": pixels.max(),
        "mean": pixels.mean(),
        "minimum": pixels.min(),
    }


def _vicar_header(edr: Edr, record: int) -> bytes:
    """Return a VICAR system label; its LBLSIZE counts all bytes up to the pixels."""
    system = (
        f"FORMAT='HALF'  TYPE='IMAGE'  BUFSIZ={record}  DIM=3  EOL=0  RECSIZE={record}  "
        f"ORG='BSQ'  NL={edr.lines}  NS={edr.line_samples}  NB=1  N1={edr.line_samples}  "
        f"N2={edr.lines}  N3=1  N4=0  NBB=0  NLB=0  HOST='JAVA'  INTFMT='HIGH'  "
        "REALFMT='RIEEE'  BHOST='VAX-VMS'  BINTFMT='LOW'  BREALFMT='VAX'  BLTYPE=''  "
        f"PROPERTY='IDENTIFICATION'  INSTRUMENT_HOST_ID='{edr.mission.host_id}'  "
        f"PRODUCT_ID='{edr.name}'  TASK='MERTELEM'"
    )
    size_field = len("LBLSIZE=") + 16
    whole = -(-(size_field + len(system)) // record) * record
    return (f"LBLSIZE={whole}".ljust(size_field) + system).encode("ascii")
