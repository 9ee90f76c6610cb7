"""Groups of images that must stay in one part of a split, read from their file names."""

import re
from collections.abc import Sequence

import typer

from mernet.cli.shared.output import note
from mernet.pds.errors import BadNameError
from mernet.pds.product import ProductName
from mernet.printable import printable, quoted


def find_groups(names: Sequence[str], pattern: str | None) -> list[str]:
    """Return the group of each file name, and print how many groups there are.

    Args:
        names: File names.
        pattern: Value of `--group-pattern`.
    """
    groups = groups_of(names, pattern)
    count = len(set(groups))
    if count == len(groups):
        note(
            "The file names show no groups of images; use --group-pattern if some belong together."
        )
    else:
        note(f"{len(groups)} images in {count} groups; each group stays in one part.")
    return groups


def groups_of(names: Sequence[str], pattern: str | None) -> list[str]:
    """Return the group of each file name.

    Raises:
        BadParameter: The pattern is not a regular expression, has no group, or matches no name.
    """
    if pattern is None:
        return [group_of(name, None) for name in names]
    compiled = _compile(pattern)
    if not any(map(compiled.search, names)):
        raise typer.BadParameter(
            f"{quoted(pattern)} matches no file name, such as {quoted(names[0])}."
        )
    return [group_of(name, compiled) for name in names]


def group_of(file_name: str, pattern: re.Pattern[str] | None) -> str:
    """Return the group of a file name.

    This is the first group of the pattern if it matches, else rover, site and sequence if the name
    is a product name, else the file name itself.
    """
    match = pattern.search(file_name) if pattern else None
    if match and match[1] is not None:
        return match[1]
    try:
        name = ProductName.parse(file_name)
    except BadNameError:
        return file_name
    return f"{name.rover} site {name.site} sequence {name.sequence}"


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise typer.BadParameter(
            f"{quoted(pattern)} is not a regular expression: {printable(error)}"
        ) from error
    if not compiled.groups:
        raise typer.BadParameter(
            f"{quoted(pattern)} has no group; put the part that counts in parentheses"
        )
    return compiled
