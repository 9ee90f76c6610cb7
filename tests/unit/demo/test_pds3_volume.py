"""Raw products of the sample archive, read back by a decoder of the test's own and by GDAL."""

import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from mernet.demo.archive import take_pixels
from mernet.demo.camera import Cut
from mernet.demo.plan import Delivery, Shot, Take
from mernet.demo.scenes import draw


def path_of(archive: Path, take: Take) -> Path:
    return archive / take.edr.path_name.strip("/") / take.edr.file_name


def label_of(data: bytes) -> str:
    """The label's text: up to the line that is END alone."""
    end = re.search(rb"^END\r\n", data, re.MULTILINE)
    assert end is not None
    return data[: end.end()].decode("ascii")


def value(label: str, key: str) -> str:
    """The first value of a keyword at the beginning of a line."""
    found = re.search(rf"^ *{re.escape(key)} += (\S+)", label, re.MULTILINE)
    assert found is not None
    return found[1]


def image_object(label: str) -> str:
    return label.partition("OBJECT                            = IMAGE\r\n")[2].partition(
        "END_OBJECT"
    )[0]


def decode(data: bytes) -> np.ndarray:
    """Pixels by struct, as the label's pointer and its IMAGE object say."""
    label = label_of(data)
    offset = (int(value(label, "^IMAGE")) - 1) * int(value(label, "RECORD_BYTES"))
    lines, samples = (int(value(image_object(label), key)) for key in ("LINES", "LINE_SAMPLES"))
    numbers = struct.unpack_from(f">{lines * samples}H", data, offset)
    return np.array(numbers).reshape(lines, samples)


@pytest.fixture(scope="module")
def whole(takes: list[Take]) -> list[Take]:
    return [take for take in takes if take.delivery is Delivery.WHOLE]


def test_there_is_a_file_of_every_cut(whole: list[Take]) -> None:
    assert {take.cut for take in whole} == set(Cut)


def test_every_file_has_as_many_bytes_as_its_label_says(archive: Path, whole: list[Take]) -> None:
    for take in whole:
        data = path_of(archive, take).read_bytes()
        label = label_of(data)
        assert len(data) == int(value(label, "FILE_RECORDS")) * int(value(label, "RECORD_BYTES"))


def test_the_pixels_are_those_that_were_drawn(archive: Path, shots: list[Shot]) -> None:
    for shot in shots[3:9]:
        picture = draw(shot.scene)
        for take in shot.takes:
            if take.delivery is Delivery.WHOLE:
                pixels = decode(path_of(archive, take).read_bytes())
                np.testing.assert_array_equal(pixels, take_pixels(picture, take))


def test_gdal_reads_the_same_pixels(archive: Path, whole: list[Take]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for take in whole:
            path = path_of(archive, take)
            with rasterio.open(path, driver="PDS") as dataset:
                np.testing.assert_array_equal(dataset.read(1), decode(path.read_bytes()))


def test_the_checksum_is_the_pixels_sum_to_six_digits(archive: Path, whole: list[Take]) -> None:
    for take in whole:
        data = path_of(archive, take).read_bytes()
        pixels = decode(data)
        image = image_object(label_of(data))
        assert value(image, "CHECKSUM") == f"{pixels.sum():.6g}"
        assert float(value(image, "MAXIMUM")) == pixels.max()
        assert float(value(image, "MINIMUM")) == pixels.min()


def test_a_companded_product_says_so_and_has_8_bits(archive: Path, whole: list[Take]) -> None:
    companded = [take for take in whole if take.edr.companded]
    assert companded
    for take in companded:
        data = path_of(archive, take).read_bytes()
        assert value(label_of(data), "SAMPLE_BIT_MASK") == "2#0000000011111111#"
        assert value(label_of(data), "SAMPLE_BIT_MODE_ID") == '"LUT3"'
        assert decode(data).max() <= 255


def test_the_label_has_the_traps_of_real_ones(archive: Path, whole: list[Take]) -> None:
    label = label_of(path_of(archive, whole[0]).read_bytes())
    assert len(re.findall(r"^ *LINES +=", label, re.MULTILINE)) > 1
    assert re.search(r"^ *LINES += 64\r$", label, re.MULTILINE)
    assert re.search(r"^END_GROUP", label, re.MULTILINE)
    assert label.endswith("\r\nEND\r\n")


def test_a_vicar_header_lies_between_label_and_pixels(archive: Path, whole: list[Take]) -> None:
    for take in whole:
        data = path_of(archive, take).read_bytes()
        label = label_of(data)
        record = int(value(label, "RECORD_BYTES"))
        start, end = ((int(value(label, key)) - 1) * record for key in ("^IMAGE_HEADER", "^IMAGE"))
        header = data[start:end].decode("ascii")
        size = re.match(r"LBLSIZE=(\d+) ", header)
        assert size is not None
        assert int(size[1]) == end - start
        assert f"NL={take.edr.lines}  NS={take.edr.line_samples}" in header


def test_the_label_tells_name_sol_and_filter(archive: Path, whole: list[Take]) -> None:
    for take in whole:
        label = label_of(path_of(archive, take).read_bytes())
        assert value(label, "PRODUCT_ID") == f'"{take.edr.name}"'
        assert int(value(label, "PLANET_DAY_NUMBER")) == take.edr.sol
        assert value(label, "FILTER_NAME").startswith(f"PANCAM_{str(take.edr.name)[23:25]}_")
