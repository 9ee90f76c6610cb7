"""The classes of a data set, and how label files refer to them: by number, code or name."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mernet.model.classes import CLASSES, CODES
from mernet.model.errors import DataSetError
from mernet.model.training.text_files import Problems, read_csv, read_text
from mernet.printable import printable

MAPPING_FILE = "mapping.json"
"""List of classes in Mars-Bench's format: {"0": ["rah", "Rock Abrasion Tool (RAT) Hole"], ...}."""
CLASS_TABLE_FILE = "classes.tsv"
"""List of classes with lines of number, tab and name."""

NUMBER = re.compile(r"\d{1,9}", re.ASCII)
NumberedClasses = Mapping[int, tuple[str, ...]]
"""For each class number of a data set, the class's code (if any) and name."""

NAMES = tuple(image_class.name for image_class in CLASSES)
CHAIN_ORDER: NumberedClasses = dict(enumerate(zip(CODES, NAMES, strict=True)))


@dataclass(frozen=True, slots=True)
class ClassList:
    """K classes in order, and the index (from 0) of each under everything it may be called."""

    codes: tuple[str, ...]
    names: tuple[str, ...]
    indices: Mapping[str, int]

    @classmethod
    def mernet(cls, numbered: NumberedClasses = CHAIN_ORDER) -> Self:
        """Return MERNet's 25 classes in chain order, with a data set's numbers and further names.

        Args:
            numbered: The numbers; each entry must contain a code or name of a MERNet class.
        """
        indices = _enumerate_words(CODES) | _enumerate_words(NAMES)
        for number, words in numbered.items():
            keys = [normalise_word(word) for word in words]
            index = next(indices[key] for key in keys if key in indices)
            indices |= dict.fromkeys([str(number), *keys], index)
        return cls(CODES, NAMES, indices)

    @classmethod
    def from_data_set(cls, numbered: NumberedClasses) -> Self:
        """Return a data set's own classes in the order of their numbers.

        The first word of an entry, with _ for spaces, is the class's code; the last is its name.

        Raises:
            DataSetError: Two classes have the same code.
        """
        ordered = sorted(numbered.items())
        codes = tuple("_".join(words[0].split()) for _, words in ordered)
        names = tuple(words[-1] for _, words in ordered)
        if len(_enumerate_words(codes)) < len(codes):
            raise DataSetError(
                f"two of the classes {printable(', '.join(codes))} have the same code; rename one"
            )
        numbers = _enumerate_words(number for number, _ in ordered)
        return cls(codes, names, _enumerate_words(names) | _enumerate_words(codes) | numbers)

    def index_of(self, word: str) -> int | None:
        """Return the index of the class called `word`; None if no class is called that."""
        return self.indices.get(normalise_word(word))


def normalise_word(word: str) -> str:
    """Return a number, code or name without differences of case, spaces and punctuation."""
    number = re.fullmatch(r"(\d{1,18})(\.0*)?", word.strip())
    if number:
        return str(int(number[1]))
    letters = re.sub(r"[\W_]+", "", word.casefold())
    # Without punctuation, -1 and 1.5 would become the numbers 1 and 15.
    return word.strip() if letters.isdecimal() else letters


def class_list_for(numbered: NumberedClasses) -> ClassList:
    """Return MERNet's classes if each entry contains the code or name of one, else the entries."""
    known = ClassList.mernet({}).indices
    if all(any(normalise_word(word) in known for word in words) for words in numbered.values()):
        return ClassList.mernet(numbered)
    return ClassList.from_data_set(numbered)


def read_class_list(folder: Path) -> ClassList | None:
    """Read the classes in a folder's mapping.json or classes.tsv; None if it has neither.

    Raises:
        DataSetError: The file cannot be read; the message names the file, and the line in
            classes.tsv.
    """
    if (folder / MAPPING_FILE).is_file():
        return class_list_for(_read_mapping(folder / MAPPING_FILE))
    if (folder / CLASS_TABLE_FILE).is_file():
        return class_list_for(_read_table(folder / CLASS_TABLE_FILE))
    return None


def _read_mapping(path: Path) -> NumberedClasses:
    expected = (
        f"{printable(path)}: must map numbers to a name, or to a code and a name: "
        '{"0": ["rah", "RAT"]}'
    )
    try:
        entries = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataSetError(
            f"{printable(path)}:{error.lineno}: is not JSON ({error.msg}); correct it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataSetError(
            f"{printable(path)}: is nested too deeply, or has too long a number; correct it"
        ) from error
    if not isinstance(entries, dict) or not entries:
        raise DataSetError(expected)
    numbered = {
        number: (words,) if isinstance(words, str) else words for number, words in entries.items()
    }
    for number, words in numbered.items():
        named = isinstance(words, list | tuple) and words and all(isinstance(w, str) for w in words)
        if not (NUMBER.fullmatch(number) and named):
            raise DataSetError(expected)
    return {int(number): tuple(words) for number, words in numbered.items()}


def _read_table(path: Path) -> NumberedClasses:
    numbered: dict[int, tuple[str, ...]] = {}
    problems = Problems()
    for line, cells in read_csv(path, "\t"):
        if len(cells) < 2 or not NUMBER.fullmatch(cells[0]) or int(cells[0]) in numbered:
            problems.add(path, line, "must be a new number, a tab and the name of its class")
        else:
            numbered[int(cells[0])] = tuple(cells[1:])
    problems.raise_any()
    return numbered


def _enumerate_words(words: Iterable[object]) -> dict[str, int]:
    return {normalise_word(str(word)): index for index, word in enumerate(words)}
