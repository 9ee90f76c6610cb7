"""Which images belong together: those of one rover, site and sequence, or of one pattern."""

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from mernet.cli.shared.output import note
from mernet.pds.errors import BadNameError
from mernet.pds.product import ProductName

GroupPattern = Annotated[
    str | None,
    typer.Option(
        help="Regular expression whose first group, found in a file name, says which images stay "
        "in one part; by default product names say it by rover, site and sequence.",
        metavar="REGEX",
    ),
]


def groups_to_keep(names: Sequence[str], pattern: str | None) -> list[str]:
    """The group of each file name, for a split; says how many there are."""
    groups = groups_of(names, pattern)
    found = len(set(groups))
    if found == len(groups):
        note("No file name tells which images belong together; --group-pattern can.")
    else:
        note(f"{len(groups)} images in {found} groups, each of which stays in one part.")
    return groups


def groups_of(names: Sequence[str], pattern: str | None) -> list[str]:
    """The group of each file name, with `pattern` as `--group-pattern` gives it."""
    if pattern is None:
        return [group_of(name, None) for name in names]
    compiled = _compiled(pattern)
    if not any(map(compiled.search, names)):
        raise typer.BadParameter(f"{pattern!r} is found in no file name, such as {names[0]}.")
    return [group_of(name, compiled) for name in names]


def group_of(file_name: str, pattern: re.Pattern[str] | None) -> str:
    """What images that must not be parted have in common.

    That is the pattern's first group where it is found in the name, else rover, site and sequence
    where the name is a product's, else the name itself.
    """
    found = pattern.search(file_name) if pattern else None
    if found and found[1] is not None:
        return found[1]
    try:
        name = ProductName.parse(file_name)
    except BadNameError:
        return file_name
    return f"{name.rover} site {name.site} sequence {name.sequence}"


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise typer.BadParameter(f"{pattern!r} is no regular expression: {error}") from error
    if not compiled.groups:
        raise typer.BadParameter(f"{pattern!r} has no group; put what counts in parentheses")
    return compiled
