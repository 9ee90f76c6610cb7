"""A run that was queued: what a command says of it, live if that is wanted."""

import sqlalchemy as sa

from mernet.cli.service import run_progress
from mernet.cli.service.status import as_dict, print_progress
from mernet.cli.service.temporary_worker import Crew
from mernet.cli.shared.output import note, print_json
from mernet.db import classifiers
from mernet.db.ledger import Run, RunProgress
from mernet.db.ledger import progress as read_progress
from mernet.worker.checkpoints import DEMO_CLASSIFIER


def report(engine: sa.Engine, run: Run, follow: bool, as_json: bool) -> RunProgress:
    """Say that a run is queued and show how far it is, with `follow` live until it has ended.

    What it has come to then. Raises `WorkerError` when a worker started for it ends before it.
    """
    name = classifiers.get(engine, run.classifier).name
    note(f"Run {run.run_id} is queued, with the classifier {name}.")
    if name == DEMO_CLASSIFIER:
        note("It knows drawn scenes only: what it says of Mars means nothing.")
    if follow:
        try:
            with Crew(hire=True) as crew:
                now = run_progress.follow(engine, run.run_id, crew)
        except KeyboardInterrupt:
            note(
                f"No longer following; run {run.run_id} stays in the ledger and goes on when a "
                f"worker runs. Follow it again: mernet status {run.run_id} --follow"
            )
            raise
    else:
        now = read_progress(engine, run.run_id)
    if as_json:
        print_json(as_dict(now))
    elif follow:
        print_progress(now)
    else:
        note(f"See it with `mernet status {run.run_id} --follow`, which says who works on it.")
    return now
