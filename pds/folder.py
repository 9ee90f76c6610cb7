"""List a folder of product files: by their names, then by the labels of the selected ones."""

from collections.abc import Iterator
from pathlib import Path

from mernet.pds import pds3, pds4
from mernet.pds.archive import Archive
from mernet.pds.disk import MAX_PRODUCT_BYTES, open_file, path_from_url, read_file
from mernet.pds.errors import BadArchiveError, DecodeError, FetchError
from mernet.pds.label import LabelFacts
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, LeftOutReason, Selection
from mernet.printable import printable


def read_folder(archive: Archive, selection: Selection) -> Iterator[Product | LeftOut]:
    """Yield every file of a folder and its subfolders, sorted, as a product or as left out.

    A file and an .xml or .lblx file with the same stem are one PDS4 product. A symbolic link is
    followed only within the folder: what a folder lists is in it.

    Raises:
        BadArchiveError: The folder has no files.
    """
    folder = path_from_url(archive.url)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise BadArchiveError(f"{folder} has no files; give a folder of product files")
    outside = [path for path in files if not _is_inside(path, folder)]
    yield from (LeftOut(printable(path.name), LeftOutReason.LINK_OUT_OF_FOLDER) for path in outside)
    files = [path for path in files if path not in set(outside)]
    images = [path for path in files if path.suffix.lower() not in pds4.LABEL_SUFFIXES]
    for path in images:
        yield _read_image(path, selection)
    stems_of_images = {path.with_suffix("") for path in images}
    for path in files:
        if (
            path.suffix.lower() in pds4.LABEL_SUFFIXES
            and path.with_suffix("") not in stems_of_images
        ):
            yield LeftOut(printable(path.name), LeftOutReason.UNREADABLE_LABEL)


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a file and its label are in a folder, wherever symbolic links lead."""
    label = pds4.label_beside(path)
    try:
        return all(
            each.resolve().is_relative_to(folder.resolve()) for each in (path, label) if each
        )
    except (OSError, RuntimeError):  # a circle of links
        return False


def _read_image(path: Path, selection: Selection) -> Product | LeftOut:
    """Return the product in a file; its label is read only if its name is wanted."""
    name = selection.wanted_name(path.name)
    if isinstance(name, LeftOut):
        return name
    label_path = pds4.label_beside(path)
    try:
        facts = _read_facts(path, label_path)
    except (DecodeError, FetchError):
        return LeftOut(path.name, LeftOutReason.UNREADABLE_LABEL)
    label_url = label_path.as_uri() if label_path else None
    return selection.product(path.name, facts, path.as_uri(), label_url)


def _read_facts(path: Path, label_path: Path | None) -> LabelFacts:
    """Read the label of a file, attached or detached, without reading the pixels."""
    if label_path is None:
        with open_file(path, MAX_PRODUCT_BYTES) as file:
            return pds3.read_label(file.read(pds3.MAX_LABEL_BYTES), path.name)
    label = pds4.read_label(read_file(label_path, MAX_PRODUCT_BYTES), label_path.name)
    if label.file_name != path.name:
        raise DecodeError(f"{label_path.name} is the label of {label.file_name}, not {path.name}")
    return label.facts
