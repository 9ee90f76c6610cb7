"""The classes that label files speak of: by number, by code or by name."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mernet.model.classes import CLASSES, CODES
from mernet.model.errors import DataSetError
from mernet.model.training.text_files import Problems, read_csv, read_text

MAPPING = "mapping.json"
"""Mars-Bench's list of classes: {"0": ["rah", "Rock Abrasion Tool (RAT) Hole"], ...}."""
CLASS_TABLE = "classes.tsv"
"""A list of classes in lines of number, tab and name."""

NumberedClasses = Mapping[int, tuple[str, ...]]
"""What the numbers of a set stand for: the code (where there is one) and the name of a class."""

NAMES = tuple(image_class.name for image_class in CLASSES)
CHAIN_ORDER: NumberedClasses = dict(enumerate(zip(CODES, NAMES, strict=True)))


@dataclass(frozen=True, slots=True)
class ClassList:
    """K classes in order, and the place (from 0) of each under all that it may be called."""

    codes: tuple[str, ...]
    names: tuple[str, ...]
    places: Mapping[str, int]

    @classmethod
    def mernet(cls, numbered: NumberedClasses = CHAIN_ORDER) -> Self:
        """MERNet's 25 classes in chain order, under the numbers and further names of a set.

        Each entry of `numbered` must hold a code or name of MERNet's.
        """
        places = _places(CODES) | _places(NAMES)
        for number, words in numbered.items():
            place = next(
                places[normalise_word(word)] for word in words if normalise_word(word) in places
            )
            places |= dict.fromkeys([str(number), *map(normalise_word, words)], place)
        return cls(CODES, NAMES, places)

    @classmethod
    def own(cls, numbered: NumberedClasses) -> Self:
        """A set's own classes in the order of their numbers.

        The first word of each, with _ for blanks, is its code; the last is its name. Raises
        DataSetError where two have the same code.
        """
        ordered = sorted(numbered.items())
        codes = tuple("_".join(words[0].split()) for _, words in ordered)
        names = tuple(words[-1] for _, words in ordered)
        if len(_places(codes)) < len(codes):
            raise DataSetError(f"two of the classes {', '.join(codes)} have the same name; mend it")
        numbers = _places(number for number, _ in ordered)
        return cls(codes, names, _places(names) | _places(codes) | numbers)

    def place(self, word: str) -> int | None:
        """The place of the class that is called `word`, None where there is none."""
        return self.places.get(normalise_word(word))


def normalise_word(word: str) -> str:
    """A number, code or name without what may differ in writing: case, blanks, punctuation."""
    number = re.fullmatch(r"(\d+)(\.0*)?", word.strip())
    if number:
        return str(int(number[1]))
    letters = re.sub(r"[\W_]+", "", word.casefold())
    # -1 and 1.5 are not the numbers 1 and 15.
    return word.strip() if letters.isdecimal() else letters


def class_list_for(numbered: NumberedClasses) -> ClassList:
    """MERNet's classes where each entry has a code or name of MERNet's, else the entries."""
    known = ClassList.mernet({}).places
    if all(any(normalise_word(word) in known for word in words) for words in numbered.values()):
        return ClassList.mernet(numbered)
    return ClassList.own(numbered)


def read_class_list(folder: Path) -> ClassList | None:
    """The classes that mapping.json or classes.tsv in `folder` lists, None where neither is there.

    Raises DataSetError naming the file (and the line, in classes.tsv) that cannot be read.
    """
    if (folder / MAPPING).is_file():
        return class_list_for(_from_mapping(folder / MAPPING))
    if (folder / CLASS_TABLE).is_file():
        return class_list_for(_from_table(folder / CLASS_TABLE))
    return None


def _from_mapping(path: Path) -> NumberedClasses:
    wanted = f'{path}: must hold numbers with a name, or a code and a name: {{"0": ["rah", "RAT"]}}'
    try:
        entries = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataSetError(f"{path}:{error.lineno}: is no JSON ({error.msg}); mend it") from error
    if not isinstance(entries, dict) or not entries:
        raise DataSetError(wanted)
    numbered = {
        number: (words,) if isinstance(words, str) else words for number, words in entries.items()
    }
    for number, words in numbered.items():
        named = isinstance(words, list | tuple) and words and all(isinstance(w, str) for w in words)
        if not (number.isdecimal() and named):
            raise DataSetError(wanted)
    return {int(number): tuple(words) for number, words in numbered.items()}


def _from_table(path: Path) -> NumberedClasses:
    numbered: dict[int, tuple[str, ...]] = {}
    problems = Problems()
    for line, cells in read_csv(path, "\t"):
        if len(cells) < 2 or not cells[0].isdecimal() or int(cells[0]) in numbered:
            problems.add(path, line, "must be a new number, a tab and the name of its class")
        else:
            numbered[int(cells[0])] = tuple(cells[1:])
    problems.raise_any()
    return numbered


def _places(words: Iterable[object]) -> dict[str, int]:
    return {normalise_word(str(word)): place for place, word in enumerate(words)}
