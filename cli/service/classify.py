"""`mernet classify`: class probabilities of local image files, without a database."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from mernet.cli.shared.output import AsJson, err, note, print_json, print_table, say
from mernet.model.checkpoint import read_header
from mernet.model.classes import CLASSES
from mernet.model.errors import PictureError
from mernet.model.pictures import Picture, check_is_file
from mernet.pds.errors import PdsError
from mernet.worker.checkpoints import load_checkpoint
from mernet.worker.image_files import read_image_file
from mernet.worker.settings import settings

SHOWN = 5
"""How many classes of an image the table shows without `--all`."""


def classify(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="PDS3 product files, PDS4 labels (.xml, .lblx) with their data files beside, or "
            "pictures (JPEG, PNG, TIFF)."
        ),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The checkpoint; by default MERNET_CHECKPOINT, otherwise that of `mernet demo`."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help=f"Show all classes, not the first {SHOWN}.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the probabilities of the classes for local files; no database is used.

    A file that cannot be read is reported with the reason and the others are classified; the exit
    code is then 1, and the number of such files is printed at the end.
    """
    path = _find_checkpoint(checkpoint)
    classes = read_header(path).classes
    results = {position: _error_of(file) for position, file in enumerate(files)}
    usable = [position for position, error in results.items() if error is None]
    threshold = 0.0
    if usable:  # loading takes seconds
        classifier = load_checkpoint(path, settings())
        threshold = float(classifier.threshold)
        starts = range(0, len(usable), classifier.batch_size)
        shown = track(
            starts, "Classifying", console=err, transient=True, disable=not err.is_terminal
        )
        for start in shown:
            batch = usable[start : start + classifier.batch_size]
            named = [files[position] for position in batch]
            found = _classify_batch(named, classes, classifier.probabilities)
            results |= zip(batch, found, strict=True)
    _report([each for each in results.values() if each], threshold, every, as_json)


def _report(results: list[dict[str, Any]], threshold: float, every: bool, as_json: bool) -> None:
    """Print all results and the number of files without one; if there are any, exit with 1."""
    if as_json:
        print_json(results)
    else:
        _print_results(results, threshold, None if every else SHOWN)
    if bad := sum("error" in result for result in results):
        note(f"{bad} of {len(results)} files could not be classified.")
        raise typer.Exit(1)


def _error_of(file: Path) -> dict[str, Any] | None:
    """Return the error of a path that leads to no file; None if it leads to one."""
    try:
        check_is_file(file)
    except PictureError as error:
        return {"file": str(file), "error": str(error)}
    return None


def _find_checkpoint(given: Path | None) -> Path:
    path = given or settings().checkpoint
    if path is None:
        path = settings().demo_checkpoint
        if not path.is_file():
            raise typer.BadParameter(
                "No checkpoint was found: give --checkpoint FILE, or create one with "
                "`mernet train` or `mernet demo`."
            )
        note("Using the demo checkpoint: it knows drawn scenes only, not Mars.")
    return path


def _classify_batch(
    files: Sequence[Path],
    classes: Sequence[str],
    probabilities: Callable[[Sequence[Picture]], NDArray[np.float32]],
) -> list[dict[str, Any]]:
    """Return for each file its probabilities by class, or its error."""
    pictures = [_read_or_error(file) for file in files]
    readable = [picture for picture in pictures if not isinstance(picture, Exception)]
    scores = iter(probabilities(readable) if readable else ())
    return [
        {"file": str(file), "error": str(picture)}
        if isinstance(picture, Exception)
        else {
            "file": str(file),
            "probabilities": dict(zip(classes, map(float, next(scores)), strict=True)),
        }
        for file, picture in zip(files, pictures, strict=True)
    ]


def _read_or_error(file: Path) -> Picture | PdsError | PictureError:
    try:
        return read_image_file(file)
    except (PdsError, PictureError) as error:
        return error


def _print_results(results: list[dict[str, Any]], threshold: float, shown: int | None) -> None:
    names = {each.code: each.name for each in CLASSES}
    for result in results:
        say(Path(result["file"]).name, "bold")
        if "error" in result:
            say(f"  Error: {result['error']}", "red")
            continue
        ranked = sorted(result["probabilities"].items(), key=lambda item: -item[1])[:shown]
        print_table(
            ("class", "name", "probability", f"above {threshold:g}"),
            [
                (code, names.get(code, code), p, "yes" if p > threshold else "")
                for code, p in ranked
            ],
        )
