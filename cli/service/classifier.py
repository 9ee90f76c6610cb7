"""`mernet classifier`: register checkpoints, compare and promote them, set thresholds, prune."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from mernet.cli.shared.connections import ledger
from mernet.cli.shared.output import AsJson, err, note, print_json, print_table
from mernet.db import classifiers, thresholds
from mernet.db.comparison import ClassifierComparison, compare
from mernet.db.pruning import prunable
from mernet.db.pruning import prune as delete_in_batches
from mernet.db.thresholds import set_threshold
from mernet.model.checkpoint import read_header
from mernet.worker.checkpoints import check_publishable, load_checkpoint, store_checkpoint
from mernet.worker.settings import settings


def add(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint (.safetensors).")],
    name: Annotated[
        str | None, typer.Option(help="Name to register; by default the one in the checkpoint.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Also make it the current classifier.")
    ] = False,
) -> None:
    """Register a checkpoint and store a copy of it, named by its SHA-256, in the data folder.

    It classifies a picture first: a checkpoint that gives no probabilities is refused.
    """
    header = read_header(checkpoint)
    check_publishable(checkpoint, header)
    load_checkpoint(checkpoint, settings()).check_scores()
    engine = ledger()
    path, sha256 = store_checkpoint(checkpoint, settings().checkpoints)
    added = classifiers.add(
        engine,
        classifiers.NewClassifier(
            sha256=sha256,
            name=name or header.name,
            path=str(path),
            threshold=header.threshold,
            header=header.model_dump(mode="json"),
        ),
    )
    if name and added.name != name:
        note(
            f"The checkpoint is registered already, as {added.name}; a classifier keeps its name, "
            f"so {name} is not used."
        )
    note(f"Registered {added.name} (sha256 {sha256[:12]}...), stored as {path}")
    if promote:
        promote_classifier(added.name)


def promote_classifier(
    name: Annotated[str, typer.Argument(help="Name of a registered classifier.")],
) -> None:
    """Make a classifier current: new runs use it, and searches show its classes at once."""
    engine = ledger()
    promoted = classifiers.promote(engine, name)
    note(f"{promoted.name} is current.")
    if lacking := classifiers.count_not_scored(engine):
        note(
            f"It has not scored {lacking} images that other classifiers have; searches lack them. "
            "`mernet run full` scores them, `mernet classifier rollback` undoes the promotion."
        )


def rollback() -> None:
    """Undo the last promotion: the previous classifier is current again at once."""
    note(f"{classifiers.rollback(ledger()).name} is current again.")


def list_classifiers(as_json: AsJson = False) -> None:
    """List the registered classifiers, oldest first, and the thresholds set for single classes."""
    engine = ledger()
    known = classifiers.list_all(engine)
    of_classes = thresholds.class_thresholds(engine)
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "sha256": each.sha256,
                    "current": each.is_current,
                    "published": each.is_published,
                    "threshold": each.threshold,
                    "class_thresholds": of_classes.get(each.sha256, {}),
                    "added_at": each.added_at,
                    "path": each.path,
                    "header": dict(each.header),
                }
                for each in known
            ]
        )
        return
    print_table(
        ("name", "state", "threshold", "except", "added", "sha256"),
        [
            (
                each.name,
                "current" if each.is_current else "" if each.is_published else "pruned",
                each.threshold,
                ", ".join(f"{code} {p:g}" for code, p in of_classes.get(each.sha256, {}).items()),
                each.added_at,
                each.sha256[:12],
            )
            for each in known
        ],
    )
    if not known:
        note("No classifier is registered; add one with `mernet classifier add FILE --promote`.")


def diff(
    before: Annotated[str, typer.Argument(help="Name of a classifier, such as the current one.")],
    after: Annotated[str, typer.Argument(help="Name of the classifier that may replace it.")],
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", help="Only this class (code or name); may be repeated."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Largest number of changed images to list.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Show which classes images gain and lose if one classifier replaces another.

    Only images that both have scored are compared, so run the new one first: `mernet run full
    --classifier NAME`.
    """
    found = compare(ledger(), before, after, tuple(class_ or ()), limit)
    if as_json:
        print_json(_comparison_as_dict(found))
    else:
        _print_comparison(found)


def threshold(
    class_: Annotated[str, typer.Argument(metavar="CLASS", help="Code or name of a class.")],
    probability: Annotated[
        float,
        typer.Argument(help="Probability, between 0 and 1, above which to publish it."),
    ],
    classifier: Annotated[
        str | None, typer.Option(help="Name of a classifier; by default the current one.")
    ] = None,
) -> None:
    """Set the probability above which a class is published, for new and existing scores.

    The classifier's own threshold, shown by `mernet classifier list`, removes the exception.
    Searches see all of the change or none of it; no image is classified again.
    """
    did = set_threshold(ledger(), class_, probability, classifier)
    note(
        f"{did.classifier} publishes {did.code} above {did.now:g} (before: {did.before:g}): "
        f"{did.added} images added, {did.withdrawn} withdrawn."
    )


def prune(
    name: Annotated[str, typer.Argument(help="Name of a classifier that is not current.")],
    keep_scores: Annotated[
        bool,
        typer.Option(
            help="Delete only the published classes; promoting the classifier publishes them again."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete the outcomes and published classes of a classifier that is not current.

    It stays registered, and `mernet status` shows its old runs as before. `mernet reconcile` then
    finds that their outcomes are missing, or with --keep-scores only their published rows.
    """
    engine = ledger()
    there = prunable(engine, name)
    what = f"{there.classifications} published classes"
    if not keep_scores:
        what = f"{there.outcomes} outcomes and {what}"
    if not yes:
        typer.confirm(f"Delete {what} of {name}?", abort=True, err=True)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("Pruning", total=there.outcomes)
        for count in delete_in_batches(engine, name, keep_scores):
            progress.advance(task, count)
    note(f"Deleted {what} of {name}.")


def _comparison_as_dict(found: ClassifierComparison) -> dict[str, object]:
    return asdict(found) | {"before": found.before.name, "after": found.after.name}


def _print_comparison(found: ClassifierComparison) -> None:
    def rate(images: int) -> float | None:
        return images / found.both if found.both else None

    old, new = found.before.name, found.after.name
    print_table(
        ("class", "name", old, "rate", new, "rate", "gained", "lost"),
        [
            (c.code, c.name, c.before, rate(c.before), c.after, rate(c.after), c.gained, c.lost)
            for c in found.classes
        ],
    )
    if found.images:
        print_table(
            ("image", "gained", "lost"),
            [
                (each.product_id, " ".join(each.gained), " ".join(each.lost))
                for each in found.images
            ],
        )
    note(
        f"{found.both} images were scored by both and compared; {found.only_before} only by {old}, "
        f"{found.only_after} only by {new}."
    )
