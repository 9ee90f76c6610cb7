"""Reading picture files: grey levels, and files that cannot be read."""

import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mernet.model.errors import PictureError
from mernet.model.pictures import read_picture


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_a_grey_picture_is_read_as_it_is(tmp_path: Path, name: str):
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(levels).save(tmp_path / name)
    read = read_picture(tmp_path / name)
    assert read.dtype == np.uint8
    assert read.tolist() == levels.tolist()


def test_colours_become_grey(tmp_path: Path):
    Image.new("RGB", (2, 2), (255, 255, 255)).save(tmp_path / "white.jpg")
    assert read_picture(tmp_path / "white.jpg").tolist() == [[255, 255], [255, 255]]


def test_pixels_of_more_than_8_bits_are_refused(tmp_path: Path):
    Image.fromarray(np.full((2, 2), 4095, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(PictureError, match=r"deep\.png: has more than 8 bits per pixel"):
        read_picture(tmp_path / "deep.png")


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_file_that_is_not_a_picture_is_named(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.jpg"):
        read_picture(tmp_path / "a.jpg")


def test_a_picture_that_ends_too_early_is_named(tmp_path: Path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match=r"cut\.jpg"):
        read_picture(tmp_path / "cut.jpg")


def encoded(form: str, size: tuple[int, int] = (24, 12), mode: str = "L", **options: Any) -> bytes:
    """A picture that is darker at its left."""
    levels = np.tile(np.linspace(0, 200, size[0], dtype=np.uint8), (size[1], 1))
    file = BytesIO()
    Image.fromarray(levels).convert(mode).save(file, form, **options)
    return file.getvalue()


def oriented(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = number
    return exif


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_a_picture_that_is_turned_by_its_tags_is_set_upright(form: str):
    upright = read_picture(encoded(form, exif=oriented(6)))
    assert upright.shape == (24, 12)
    assert upright[0].mean() < upright[-1].mean()


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 300])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_damaged_tags_do_not_matter(form: str, exif: bytes):
    assert read_picture(encoded(form, exif=exif)).shape == (12, 24)


def test_an_unknown_orientation_does_not_matter():
    assert read_picture(encoded("JPEG", exif=oriented(99))).shape == (12, 24)


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "P"), ("PNG", "1"), ("PNG", "LA"), ("PNG", "RGBA"), ("JPEG", "CMYK"), ("TIFF", "CMYK"),
     ("TIFF", "P"), ("TIFF", "1"), ("JPEG", "YCbCr")],
)  # fmt: skip
def test_pictures_of_any_8_bit_colours_are_read(form: str, mode: str):
    read = read_picture(encoded(form, mode=mode))
    assert (read.shape, read.dtype) == ((12, 24), np.uint8)
    assert read[:, :4].mean() < read[:, -4:].mean()


def ihdr(width: int, height: int) -> bytes:
    """A PNG file that claims this size, and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def tiff_of_many_pages(pages: int) -> bytes:
    """A TIFF all of whose pages have the same tags and pixels."""
    tiff = encoded("TIFF", (200, 200))
    (first,) = struct.unpack_from("<I", tiff, 4)
    (tags,) = struct.unpack_from("<H", tiff, first)
    end = first + 2 + 12 * tags
    page = tiff[first:end]
    starts = [first, *range(len(tiff), len(tiff) + pages * (len(page) + 4), len(page) + 4)]
    more = (page + struct.pack("<I", start) for start in [*starts[2:pages], 0])
    return tiff[:end] + struct.pack("<I", starts[1]) + tiff[end + 4 :] + b"".join(more)


JPEG, PNG, TIFF = (encoded(form, (200, 200)) for form in ("JPEG", "PNG", "TIFF"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (ihdr(60_000, 60_000), r"more than \d+"),
        (ihdr(2**31 - 1, 1), r"more than \d+"),
        (ihdr(10_000, 10_000), r"more than \d+"),
        (ihdr(24, 24), "cannot be read"),
        (ihdr(0, 0), "is not a JPEG"),
        (JPEG[: len(JPEG) // 2], "cannot be read"),
        (JPEG[:30], "a.png"),
        (PNG[:-30], "cannot be read"),
        (PNG[:8], "is not a JPEG"),
        (PNG[:40] + b"\0" * 9 + PNG[49:], "a.png"),
        (TIFF[:300], "cannot be read"),
        (b"II*\0\xff\xff\xff\x7f", "is not a JPEG"),
        (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "is not a JPEG"),
        (encoded("PNG", save_all=True, append_images=[Image.new("L", (24, 12))]), "several"),
        (tiff_of_many_pages(60_000), "several"),
        (encoded("TIFF", save_all=True, append_images=[Image.new("L", (24, 12))]), "several"),
        (encoded("GIF"), "is not a JPEG"),
        (encoded("BMP"), "is not a JPEG"),
        (b"<html><body>Not here</body></html>", "is not a JPEG"),
        (b"\xff\xd8\xff" + bytes(range(256)), "is not a JPEG"),
    ],
    ids=["square bomb", "wide bomb", "bomb below Pillow's limit", "no pixels", "no size",
         "half of a JPEG", "header of a JPEG", "PNG without its end", "signature of a PNG",
         "damaged PNG", "half of a TIFF", "TIFF without tags", "TIFF in a circle", "animated PNG",
         "TIFF of many", "TIFF of two", "GIF", "BMP", "web page", "noise"],
)  # fmt: skip
def test_a_picture_that_cannot_be_used_is_refused_in_one_sentence_that_names_it(
    tmp_path: Path, data: bytes, said: str
):
    file = tmp_path / "a.png"
    file.write_bytes(data)
    with pytest.raises(PictureError, match=said) as caught:
        read_picture(file)
    message = str(caught.value)
    assert "a.png: " in message
    assert message.count(";") == 1
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("url", ["http://a.example/b.png", "s3://a/b.png"])
def test_a_url_is_told_to_be_one(url: str):
    with pytest.raises(PictureError, match=f"^{url}: is a URL; download the file"):
        read_picture(Path(url))


def test_a_picture_with_odd_tags_prints_no_warning(tmp_path: Path):
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    program = (
        "import sys; from pathlib import Path; from mernet.model import pictures\n"
        "try: pictures.read_picture(Path(sys.argv[1]))\n"
        "except pictures.PictureError: pass"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.tif")]
    assert subprocess.run(command, check=True, capture_output=True, timeout=60).stderr == b""
