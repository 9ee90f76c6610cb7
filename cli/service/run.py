"""`mernet run`: queue a pass over an archive or what it has new, retry, pause, cancel, list."""

from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from mernet.cli.service.exit_codes import end_as
from mernet.cli.service.queued_run import report
from mernet.cli.service.status import as_dict
from mernet.cli.shared.broker import ledger_and_broker
from mernet.cli.shared.connections import ledger
from mernet.cli.shared.output import AsJson, note, print_json, print_table
from mernet.db.ledger import (
    NewRun,
    RunProgress,
    cancel_run,
    create_retry,
    create_run,
    list_runs,
    pause_run,
    progress,
    resume_run,
    unsent,
)
from mernet.pds.archive import named_archives, resolve
from mernet.pds.selection import ProductKind
from mernet.worker.errors import ArchivesNotListed
from mernet.worker.failure_reasons import failure_reasons
from mernet.worker.fetcher import create_fetcher
from mernet.worker.ingest import IngestReport, ingest
from mernet.worker.sending import send_chunks, send_listing
from mernet.worker.settings import settings

Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        "-f",
        help="Show it live until the run has ended. With the embedded servers, a worker is "
        "started for that time if none is running.",
    ),
]


def _reason(words: str | None) -> str | None:
    """A reason of failure, which may be written with hyphens."""
    reason = words and words.replace("-", " ")
    if reason and reason not in failure_reasons():
        known = ", ".join(failure_reasons())
        raise typer.BadParameter(f"no product fails for this reason; the reasons are: {known}.")
    return reason


Archives = Annotated[
    list[str] | None,
    typer.Option(
        help="Name, URL or path of an archive; may be given several times. By default opportunity "
        "and spirit.",
    ),
]
Mirror = Annotated[
    str | None,
    typer.Option(help="URL or path that replaces the base address of a named archive."),
]
WithdrawMany = Annotated[
    bool,
    typer.Option(
        "--withdraw-many",
        help="Also where more than a tenth of an archive's products, and more than 100, are listed "
        "no more. Without it such a listing is refused, since a half-written index looks so.",
    ),
]
ProductsWanted = Annotated[
    ProductKind, typer.Option(help="Raw products (edr), derived ones (rdr), or any.")
]


def full(
    archive: Archives = None,
    mirror: Mirror = None,
    products: ProductsWanted = "edr",
    again: Annotated[
        bool, typer.Option("--again", help="Also classify what has an outcome already.")
    ] = False,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="Name of a registered classifier, to see what it does before it is promoted; by "
            "default the current one."
        ),
    ] = None,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run over all eligible products: left-eye Pancam images through filter 2, 512 or 1024.

    What the classifier has an outcome of is not done again. The exit code with --follow:
    0 when all is classified, 3 when products failed, 1 otherwise.
    """
    archives = _anywhere(archive, mirror)
    engine = ledger_and_broker()
    run = create_run(
        engine,
        NewRun(
            archives=archives,
            mirror=_absolute(mirror),
            products=products,
            chunk_size=settings().chunk_size,
            reclassify=again,
            classifier=classifier,
        ),
    )
    send_listing(engine, run.run_id)
    end_as(report(engine, run, follow, as_json))


def new(
    archive: Archives = None,
    mirror: Mirror = None,
    products: ProductsWanted = "edr",
    withdraw_many: WithdrawMany = False,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run over what an archive lists that no run under the current classifier took up.

    A listing that has not changed since the last look is not read, and with nothing new there is no
    run. Products that are listed no more are marked as withdrawn and leave the search; a registry
    search tells of none. What a run left undone that was cancelled or has failed is taken up again.
    The exit code: 1 when an archive could not be listed, whatever became of the others; else, with
    --follow, 0 when all is classified or nothing is new, 3 when products failed, 1 otherwise.
    """
    wanted = NewRun(
        archives=_anywhere(archive, mirror),
        mirror=_absolute(mirror),
        products=products,
        chunk_size=settings().chunk_size,
    )
    engine = ledger_and_broker()
    with create_fetcher(settings()) as fetcher:
        ingested = ingest(engine, wanted, fetcher, withdraw_many)
    now = _send_and_report(engine, ingested, follow, as_json)
    if ingested.failure:
        raise ArchivesNotListed(ingested.failure)
    if now is not None:
        end_as(now)


def retry(
    run_id: Annotated[
        int | None, typer.Argument(help="Only what failed in this run and was not done since.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            callback=_reason,
            help="Only what failed for this reason, such as not-found; status shows it.",
        ),
    ] = None,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run over the products that failed under the current classifier.

    With nothing to retry there is no run. The exit code with --follow: 0 when all is classified or
    nothing is left, 3 when products failed, 1 otherwise.
    """
    engine = ledger_and_broker()
    run = create_retry(engine, settings().chunk_size, reason, run_id)
    if run is None:
        what = f" for the reason {reason!r}" if reason else ""
        where = f" in run {run_id}" if run_id else ""
        note(f"Nothing is left that failed{what}{where}, so there is no run.")
        if as_json:
            print_json({"run": None})
        return
    send_chunks(engine, run.run_id, unsent(engine, run.run_id))
    end_as(report(engine, run, follow, as_json))


def cancel(run_id: Annotated[int, typer.Argument(help="Number of an open run.")]) -> None:
    """End a run: nothing of it is classified or published from now on; what is published stays."""
    cancel_run(ledger(), run_id)
    note(f"Run {run_id} is cancelled; what it has published stays.")


def pause(run_id: Annotated[int, typer.Argument(help="Number of an open run.")]) -> None:
    """Begin no more chunks of a run until it is resumed; those at hand finish and are published."""
    pause_run(ledger(), run_id)
    note(f"Run {run_id} is paused; go on with `mernet run resume {run_id}`.")


def resume(run_id: Annotated[int, typer.Argument(help="Number of a paused run.")]) -> None:
    """Let a paused run go on where it stopped."""
    engine = ledger_and_broker()
    resume_run(engine, run_id)
    send_chunks(engine, run_id, unsent(engine, run_id))
    note(f"Run {run_id} goes on; see `mernet status {run_id} --follow`.")


def list_latest(as_json: AsJson = False) -> None:
    """List the latest runs, newest first."""
    engine = ledger()
    found = [progress(engine, run.run_id) for run in list_runs(engine, limit=20)]
    if as_json:
        print_json([as_dict(each) for each in found])
        return
    print_table(
        ("run", "kind", "state", "listed", "others", "done", "failed", "waiting", "started", "of"),
        [_row(each) for each in found],
    )


def _row(now: RunProgress) -> tuple[object, ...]:
    run = now.run
    counts = (now.listed, now.already, now.classified, now.failed, now.waiting)
    return run.run_id, run.kind, run.condition, *counts, run.created_at, " ".join(run.archives)


def _anywhere(names: list[str] | None, mirror: str | None) -> tuple[str, ...]:
    """The archives so that a worker with another working folder finds the same ones."""
    found = {name: resolve(name, mirror) for name in names or ("opportunity", "spirit")}
    return tuple(
        name if name in named_archives() else archive.url for name, archive in found.items()
    )


def _absolute(mirror: str | None) -> str | None:
    if mirror is None or "://" in mirror:
        return mirror
    return str(Path(mirror).expanduser().absolute())


def _send_and_report(
    engine: sa.Engine, ingested: IngestReport, follow: bool, as_json: bool
) -> RunProgress | None:
    """Say what an ingest came to and begin its run; None without one."""
    note(ingested.sentence)
    run = ingested.run
    if run is not None:
        send_chunks(engine, run.run_id, unsent(engine, run.run_id))
        return report(engine, run, follow, as_json)
    if as_json:
        print_json({"run": None, "withdrawn": ingested.withdrawn})
    return None
