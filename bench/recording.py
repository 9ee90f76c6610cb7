"""What the measurements share: command line options, and result rows with date, device, versions.

A result file keeps the rows of all measurements. Its first columns say when and on what a row was
measured; a column that a row does not have is empty.
"""

import argparse
import csv
import multiprocessing
import platform
import resource
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def option_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option that every measurement has: `--out`, the results' folder."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="write the CSV file into this folder (default: bench/results)",
    )
    return parser


def add_rows(
    path: Path,
    rows: Sequence[Mapping[str, object]],
    device: str,
    versions: Mapping[str, str],
    replaces: Sequence[str] = (),
) -> None:
    """Print rows of results and add them to a CSV file, with date, device and versions in front.

    Args:
        path: The file. Its folder is created if it does not exist.
        rows: Values by column.
        device: The device that was measured, such as `cpu_name()`.
        versions: The versions of the software that was measured, by name.
        replaces: Names of columns. Earlier rows that agree with a new row in all of them are
            removed; without any, all earlier rows stay.
    """
    origin = {"date": datetime.now(UTC).date().isoformat(), "device": device, **versions}
    new = [{name: _cell_text(value) for name, value in {**origin, **row}.items()} for row in rows]
    replaced = {_key(row, replaces) for row in new} if replaces else set()
    kept = [row for row in _read_rows(path) if _key(row, replaces) not in replaced]
    columns = dict.fromkeys(name for row in [*kept, *new] for name in row)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *new])
    for row in new:
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of libraries, by the names of their distributions."""
    return {name: version(name) for name in names}


def cpu_name() -> str:
    """Return the kind of processor and the number of its cores."""
    return f"{platform.processor() or platform.machine()}, {multiprocessing.cpu_count()} cores"


def peak_process_memory() -> int:
    """Return the most bytes of memory that this process has used so far (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # given in kilobytes


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _key(row: Mapping[str, str], columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.get(column, "") for column in columns)


def _cell_text(value: object) -> str:
    return "" if value is None else str(value)
