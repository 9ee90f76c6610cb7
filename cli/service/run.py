"""`mernet run`: queue runs over archives, new or failed products; pause, cancel and list runs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from mernet.cli.service.exit_codes import exit_as_run_ended
from mernet.cli.service.follow_run import follow_run
from mernet.cli.service.learned_types import other_types_warning
from mernet.cli.service.run_progress import as_json as progress_as_json
from mernet.cli.service.run_progress import print_progress
from mernet.cli.service.waiting import all_obstacles, marked_as_waiting, print_obstacles
from mernet.cli.shared.broker import ledger_and_broker
from mernet.cli.shared.connections import ledger
from mernet.cli.shared.options import Mirror, ProductsWanted
from mernet.cli.shared.output import AsJson, in_words, moment, note, print_json, print_table
from mernet.db import classifiers
from mernet.db.ledger import (
    NewRun,
    Run,
    RunProgress,
    cancel_run,
    create_retry,
    create_run,
    list_runs,
    pause_run,
    resume_run,
)
from mernet.db.ledger import progress as read_progress
from mernet.db.obstacles import Obstacle
from mernet.pds.archive import ArchiveKind, named_archives, resolve
from mernet.printable import printable, quoted
from mernet.suggestions import did_you_mean
from mernet.worker.archive_hosts import HostRules
from mernet.worker.checkpoints import DEMO_CLASSIFIER
from mernet.worker.errors import MustWait
from mernet.worker.failure_reasons import failure_reasons
from mernet.worker.fetcher import create_fetcher
from mernet.worker.ingest import ingest
from mernet.worker.sending import send_chunks, send_listing
from mernet.worker.settings import settings

LATEST = 20
"""How many runs `mernet run list` shows."""


def _check_reason(words: str | None) -> str | None:
    """Return a reason of failure, which may be written with hyphens, as the ledger stores it."""
    reason = words and words.replace("-", " ")
    if reason and reason not in failure_reasons():
        known = failure_reasons()
        raise typer.BadParameter(
            f"no product fails for the reason {quoted(words)}{did_you_mean(reason, known)} "
            f"The reasons are: {', '.join(known)}."
        )
    return reason


Archives = Annotated[
    list[str] | None,
    typer.Option(
        help="Name, URL or path of an archive; may be repeated. By default opportunity and spirit.",
    ),
]
Reclassify = Annotated[
    bool,
    typer.Option(
        "--reclassify", help="Also classify products that the classifier has an outcome of."
    ),
]
PublishOwn = Annotated[
    bool,
    typer.Option(
        "--publish",
        help="Also show the images of a folder in the search that the Atlas reads. Without this "
        "option only `mernet search --own` finds them.",
    ),
]
ClassifierName = Annotated[
    str | None,
    typer.Option(
        help="Name of a registered classifier, to see its results before it is promoted; by "
        "default the current one."
    ),
]
WithdrawMany = Annotated[
    bool,
    typer.Option(
        "--withdraw-many",
        help="Mark products as withdrawn even if more than a tenth of an archive's products, and "
        "more than 100, are no longer listed, or if names in the index cannot be read. Without "
        "this option such a listing is refused or withdraws nothing, since an incomplete or "
        "damaged index file looks the same.",
    ),
]
AcceptShortListing = Annotated[
    bool,
    typer.Option(
        "--accept-short-listing",
        help="List a table or inventory that ends before its label says as far as it goes. Without "
        "this option it is refused, since a file that was cut off looks the same.",
    ),
]
RetryRun = Annotated[
    int | None,
    typer.Argument(help="Only products that failed in this run and were not classified since."),
]
Reason = Annotated[
    str | None,
    typer.Option(
        callback=_check_reason,
        help="Only products that failed for this reason, such as not-found; `mernet status` shows "
        "the reasons.",
    ),
]
RetryMirror = Annotated[
    str | None,
    typer.Option(
        help="URL or path that replaces the base address of named archives; by default that of the "
        "runs in which the products failed, if they all had the same."
    ),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        "-f",
        help="Show the progress live until the run has ended. With the embedded servers, a worker "
        "is started for that time if none is running.",
    ),
]
OpenRun = Annotated[int, typer.Argument(help="Number of an open run.")]
PausedRun = Annotated[int, typer.Argument(help="Number of a paused run.")]


def full(
    archive: Archives = None,
    mirror: Mirror = None,
    products: ProductsWanted = "edr",
    reclassify: Reclassify = False,
    classifier: ClassifierName = None,
    publish: PublishOwn = False,
    accept_short_listing: AcceptShortListing = False,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run over all eligible products: left-eye Pancam, filter 2, 512 or 1024 pixels square.

    Products that the classifier has an outcome of are not classified again, and images of a folder
    are not classified if an archive has their products, or if another folder had them first. The
    exit code with --follow: 0 if all products are classified, 3 if products failed, also in an
    earlier run whose outcome was kept, 1 otherwise.
    """
    archives = _independent_of_folder(archive, mirror)
    _require_folder(archives, publish)
    engine = ledger_and_broker()
    run = create_run(
        engine,
        NewRun(
            archives=archives,
            mirror=_absolute(mirror),
            products=products,
            chunk_size=settings().chunk_size,
            reclassify=reclassify,
            classifier=classifier,
            publish_own=publish,
            accept_short_listing=accept_short_listing,
        ),
    )
    send_listing(engine, run.run_id)
    exit_as_run_ended(_report_queued_run(engine, run, follow, as_json))


def new(
    archive: Archives = None,
    mirror: Mirror = None,
    products: ProductsWanted = "edr",
    withdraw_many: WithdrawMany = False,
    publish: PublishOwn = False,
    accept_short_listing: AcceptShortListing = False,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run over new products: those that no run of the current classifier includes.

    A listing that has not changed since the last check is not read, and if nothing is new, no run
    is created. Products that are no longer listed are marked as withdrawn and leave the search; a
    registry search does not report them. Products that a cancelled or failed run left undone count
    as new. The exit code is 1 if an archive could not be listed; otherwise, with --follow, 0 if all
    products are classified or nothing is new, 3 if products failed, 1 in other cases.
    """
    archives = _independent_of_folder(archive, mirror)
    _require_folder(archives, publish)
    wanted = NewRun(
        archives=archives,
        mirror=_absolute(mirror),
        products=products,
        chunk_size=settings().chunk_size,
        publish_own=publish,
        accept_short_listing=accept_short_listing,
    )
    engine = ledger_and_broker()
    note(f"Checking {', '.join(wanted.archives)} for new products ...")
    with create_fetcher(settings(), on_retry=_note_retry) as fetcher:
        ingested = ingest(
            engine,
            wanted,
            fetcher,
            withdraw_many,
            HostRules.from_settings(settings()),
            on_wait=_note_wait,
        )
    note(ingested.sentence)
    now = None
    if ingested.run is not None:
        now = _send_chunks_and_report(engine, ingested.run, follow, as_json)
    elif as_json:
        print_json({"run": None, "withdrawn": ingested.withdrawn})
    if ingested.not_listed:
        raise ingested.not_listed
    if now is not None:
        exit_as_run_ended(now)


def _note_retry(message: str, seconds: float) -> None:
    note(f"{message.rstrip('.')}. Next attempt in {in_words(seconds)}.")


def _note_wait(waiting: MustWait) -> None:
    note(
        f"All connections to {waiting.subject} are in use; the check continues when one is free. "
        "Ctrl-C ends it; nothing is changed then."
    )


def retry(
    run_id: RetryRun = None,
    reason: Reason = None,
    mirror: RetryMirror = None,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run over the products that failed under the current classifier.

    These are the products whose latest result is a failure, also if an earlier result stayed.
    If there are none, no run is created. The exit code with --follow: 0 if all products are
    classified or there were none, 3 if products failed, 1 otherwise.
    """
    if mirror is not None:
        resolve(next(iter(named_archives())), mirror)  # refuses a mirror that cannot be used
    engine = ledger_and_broker()
    run = create_retry(engine, settings().chunk_size, reason, run_id, _absolute(mirror))
    if run is None:
        with_reason = f" for the reason {quoted(reason)}" if reason else ""
        in_run = f" in run {run_id}" if run_id else ""
        note(f"No product is left that failed{with_reason}{in_run}, so no run is created.")
        if as_json:
            print_json({"run": None})
        return
    exit_as_run_ended(_send_chunks_and_report(engine, run, follow, as_json))


def cancel(run_id: OpenRun) -> None:
    """Cancel a run: nothing more is classified or published; published results stay."""
    cancel_run(ledger(), run_id)
    note(f"Run {run_id} is cancelled; its published results stay.")


def pause(run_id: OpenRun) -> None:
    """Start no more chunks of a run until it is resumed; those in progress are still published."""
    pause_run(ledger(), run_id)
    note(f"Run {run_id} is paused; `mernet run resume {run_id}` continues it.")


def resume(run_id: PausedRun) -> None:
    """Continue a paused run."""
    engine = ledger_and_broker()
    resume_run(engine, run_id)
    send_chunks(engine, run_id)
    note(f"Run {run_id} continues; see `mernet status {run_id} --follow`.")


def list_latest(as_json: AsJson = False) -> None:
    """List the latest runs, newest first."""
    engine = ledger()
    obstacles = all_obstacles(engine)
    found = [
        marked_as_waiting(read_progress(engine, run.run_id), obstacles)
        for run in list_runs(engine, limit=LATEST)
    ]
    if as_json:
        print_json([_with_obstacles(each, obstacles) for each in found])
        return
    columns = (
        "run", "kind", "state", "listed", "classified", "failed", "kept", "waiting",
        "started (UTC)",
        "archives",
    )  # fmt: skip
    print_table(columns, [_table_row(each) for each in found])
    for each in found:
        if why := each.run.error or each.run.listing_error:
            note(f"Run {each.run.run_id}: {printable(why)}")
    print_obstacles([each for each in obstacles if each.run_ids])
    if not found:
        note("No run has been created yet; `mernet run full` starts one.")


def _with_obstacles(now: RunProgress, obstacles: Sequence[Obstacle]) -> dict[str, Any]:
    """Return the progress of a run, and what it waits for, for JSON."""
    its_own = [asdict(each) for each in obstacles if now.run.run_id in each.run_ids]
    return progress_as_json(now) | {"obstacles": its_own}


def _table_row(now: RunProgress) -> tuple[object, ...]:
    run = now.run
    counts = (now.listed, now.classified, now.failed, now.kept, now.waiting)
    started = moment(run.created_at)[:-3]
    return run.run_id, run.kind, run.condition, *counts, started, " ".join(run.archives)


def _independent_of_folder(names: list[str] | None, mirror: str | None) -> tuple[str, ...]:
    """Return the archives by known names or absolute URLs.

    A worker runs in another working folder, so a relative path would mean another archive there.
    """
    found = {name: resolve(name, mirror) for name in names or ("opportunity", "spirit")}
    return tuple(
        name if name in named_archives() else archive.url for name, archive in found.items()
    )


def _require_folder(archives: tuple[str, ...], publish: bool) -> None:
    """Refuse to publish own images if no archive is a folder."""
    if publish and not any(
        name not in named_archives() and resolve(name).kind is ArchiveKind.FOLDER
        for name in archives
    ):
        raise typer.BadParameter(
            "--publish is for the images of a folder; what an archive lists is always published."
        )


def _absolute(mirror: str | None) -> str | None:
    if mirror is None or "://" in mirror:
        return mirror
    return str(Path(mirror).expanduser().absolute())


def _send_chunks_and_report(
    engine: sa.Engine, run: Run, follow: bool, as_json: bool
) -> RunProgress:
    send_chunks(engine, run.run_id)
    return _report_queued_run(engine, run, follow, as_json)


def _report_queued_run(engine: sa.Engine, run: Run, follow: bool, as_json: bool) -> RunProgress:
    """Print that a run is queued and, with `follow`, its progress until it has ended.

    Returns:
        The progress at the end of this function.

    Raises:
        WorkerError: The worker that was started for the run exited before the run ended.
    """
    used = classifiers.get(engine, run.classifier)
    name, header = used.name, used.header
    note(f"Run {run.run_id} is queued, with the classifier {name}.")
    if name == DEMO_CLASSIFIER:
        note("This classifier knows drawn scenes only; its results for images of Mars are useless.")
    if warning := other_types_warning(name, header, run.products):
        note(warning)
    now = (
        follow_run(engine, run.run_id, may_start_worker=True)
        if follow
        else read_progress(engine, run.run_id)
    )
    if as_json:
        print_json(progress_as_json(now))
    elif follow:
        print_progress(now)
    else:
        note(f"`mernet status {run.run_id} --follow` shows its progress and the workers.")
    return now
