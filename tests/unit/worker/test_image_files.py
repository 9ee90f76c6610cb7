"""An image file is read, or refused with an error that names it; nothing waits for ever."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from mernet.errors import MernetError
from mernet.worker.image_files import read_image_file


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *more: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *more, chunk(b"IDAT", pixels)]
    ) + chunk(b"IEND", b"")


GREY = Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32) % 251)


def save_pages(path: Path) -> None:
    GREY.save(path, save_all=True, append_images=[GREY, GREY])


def save_jpeg_half(path: Path) -> None:
    Image.effect_noise((64, 64), 90).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save_odd_tags(path: Path) -> None:
    """A TIFF whose strips have a tag of another type."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[50000] = "x" * 5000
    GREY.save(path, tiffinfo=tags)
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<HH", 273, 4))
    data[at + 2 : at + 4] = struct.pack("<H", 12)
    path.write_bytes(data)


BAD = {
    "one.png": lambda path: Image.new("L", (1, 1)).save(path),
    "line.png": lambda path: Image.new("L", (500, 1)).save(path),
    "empty.jpg": lambda path: path.write_bytes(b""),
    "text.tif": lambda path: path.write_text("no picture"),
    "cut.jpg": save_jpeg_half,
    "tags.tif": save_odd_tags,
    "deep.png": lambda path: Image.fromarray(np.full((9, 9), 4095, np.uint16)).save(path),
    "real.tif": lambda path: Image.fromarray(np.ones((9, 9), np.float32)).save(path),
    "pages.tif": save_pages,
    "animated.png": save_pages,
    "bomb.png": lambda path: path.write_bytes(png(60_000, 60_000, zlib.compress(bytes(10**6)))),
    "large.png": lambda path: path.write_bytes(png(9_000, 9_000, zlib.compress(bytes(10)))),
    "text-bomb.png": lambda path: path.write_bytes(
        png(9, 9, b"", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**9 // 10))))
    ),
    "wrong-size.png": lambda path: path.write_bytes(png(2**31, 2**31, b"")),
    "folder.png": Path.mkdir,
    "folder.img": Path.mkdir,
    "pipe.png": os.mkfifo,
    "pipe.img": os.mkfifo,
    "pipe.xml": os.mkfifo,
    "device.png": lambda path: path.symlink_to("/dev/zero"),
    "device.img": lambda path: path.symlink_to("/dev/zero"),
    "missing.img": lambda path: None,
    "loop.png": lambda path: path.symlink_to(path),
    "empty.img": lambda path: path.write_bytes(b""),
    "no-label.img": lambda path: path.write_bytes(b"\0" * 5000),
    "[b]\x1b[2J.png": lambda path: path.write_bytes(b"a"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    BAD[name](tmp_path / name)
    with pytest.raises(MernetError) as caught:
        read_image_file(tmp_path / name)
    message = str(caught.value)
    assert name.replace("\x1b", r"\x1b") in message
    assert message.isprintable()
    assert len(message) < 800


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "a" * 300 + ".img", "a\0.png", "a\0.img"])
def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MernetError):
        read_image_file(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    GREY.save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(MernetError, match=r"a\.png"):
        read_image_file(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_picture_of_any_8_bit_kind_becomes_grey(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    try:
        GREY.convert(mode).save(path)
    except OSError:
        pytest.skip("this format has no such kind")
    assert read_image_file(path).shape == (32, 32)
