"""Finds the picture files that a label file names."""

import os
from collections import defaultdict
from pathlib import Path, PurePosixPath

from mernet.model.errors import DataSetError
from mernet.model.pictures import PICTURE_SUFFIXES
from mernet.model.training.data.data_set import Part
from mernet.printable import printable

PRODUCT_SUFFIX = ".img"
"""The archive's browse pictures are named after the product file: NAME.img.jpg."""
FOLDERS_OF_PARTS = {
    Part.TRAIN: ("train", "training"),
    Part.VALIDATION: ("val", "valid", "validation"),
    Part.TEST: ("test", "testing"),
}
USUAL_FOLDERS = (".", "images", "data")


class PictureFinder:
    """The pictures in a folder and its subfolders, by file name."""

    def __init__(self, folder: Path) -> None:
        """List the pictures in `folder`, once."""
        self._folder = folder
        self._by_name: defaultdict[str, list[Path]] = defaultdict(list)
        for subfolder, _, names in os.walk(folder, followlinks=True):
            for name in names:
                if name.lower().endswith(PICTURE_SUFFIXES):
                    for key in {name.lower(), _stem(name)}:
                        self._by_name[key].append(Path(subfolder, name))

    def find(self, name: str, part: Part | None) -> Path:
        """Return the path of the picture called `name`, in any case, with or without its extension.

        If there are several, the one in the folder of `part` is returned, else the one beside the
        label file, in images/ or in data/.

        Raises:
            DataSetError: No such picture exists, or several are equally likely.
        """
        bare = PurePosixPath(name.replace("\\", "/")).name
        candidates = self._by_name.get(bare.lower()) or self._by_name.get(_stem(bare), [])
        if not candidates:
            raise DataSetError(
                f"no picture called '{printable(name, 100)}' is in "
                f"{printable(self._folder)}; add it or correct the name"
            )
        ranks = [self._rank(path, part) for path in candidates]
        best = [path for path, rank in zip(candidates, ranks, strict=True) if rank == min(ranks)]
        if len(best) > 1:
            raise DataSetError(
                f"'{printable(name, 100)}' may be {printable(best[0], 100)} or "
                f"{printable(best[1], 100)}; keep one of them"
            )
        return best[0]

    def _rank(self, path: Path, part: Part | None) -> int:
        """Return a number that is lower the likelier the picture in this folder is meant."""
        folder = path.parent.relative_to(self._folder)
        if part is not None and folder.name.lower() in FOLDERS_OF_PARTS[part]:
            return 0
        usual = folder.as_posix().lower()
        return 1 + (USUAL_FOLDERS.index(usual) if usual in USUAL_FOLDERS else len(USUAL_FOLDERS))


def _stem(name: str) -> str:
    """Return a file name in lower case without the extensions of pictures and products."""
    stem = name.lower()
    while stem.endswith((*PICTURE_SUFFIXES, PRODUCT_SUFFIX)):
        stem = stem.rpartition(".")[0]
    return stem
