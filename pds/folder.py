"""List a folder of product files: by their names, then by the labels of the selected ones."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
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
        BadArchiveError: The folder has no files, or none that may be read.
    """
    folder = path_from_url(archive.url)
    found = _find_files(folder)
    if not found.files and not found.outside:
        raise _why_no_files(folder, found.unreadable)
    for paths, reason in (
        (found.unreadable, LeftOutReason.UNREADABLE_FILE),
        (found.outside, LeftOutReason.LINK_OUT_OF_FOLDER),
    ):
        yield from (LeftOut(printable(path.name), reason) for path in sorted(paths))
    files = sorted(found.files)
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


@dataclass(slots=True)
class _Found:
    """The files of a folder, those to which links lead out of it, and what cannot be read there."""

    files: list[Path] = field(default_factory=list)
    outside: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)

    def note_error(self, error: OSError) -> None:
        """Note a folder that cannot be read."""
        self.unreadable.append(Path(error.filename))


def _find_files(folder: Path) -> _Found:
    """Return all files in a folder and its subfolders."""
    found = _Found()
    for parent, _, names in os.walk(folder, onerror=found.note_error):
        for path in (Path(parent, name) for name in names):
            try:
                if path.is_file():
                    (found.files if _is_inside(path, folder) else found.outside).append(path)
            except OSError:
                found.unreadable.append(path)
    return found


def _why_no_files(folder: Path, unreadable: list[Path]) -> BadArchiveError:
    if unreadable:
        return BadArchiveError(
            f"{folder} has no file that may be read, such as {printable(unreadable[0])}; "
            "check the permissions"
        )
    return BadArchiveError(f"{folder} has no files; give a folder of product files")


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a file and its label are in a folder, wherever symbolic links lead."""
    label = pds4.label_beside(path)
    try:
        return all(
            each.resolve().is_relative_to(folder.resolve()) for each in (path, label) if each
        )
    except RuntimeError:  # a circle of links
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
