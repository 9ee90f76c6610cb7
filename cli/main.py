"""The `mernet` command: its groups put together, and its errors turned into one sentence."""

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from mernet.cli.learning import data, discover, evaluate, reproduce, train
from mernet.cli.service import (
    classifier,
    classify,
    database,
    demo,
    health,
    metrics,
    run,
    scheduler,
    search,
    services,
    status,
    worker,
)
from mernet.cli.shared.output import err
from mernet.errors import MernetError

LEARNING = "Learning: from labelled images to a judged checkpoint"
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Classify the Planetary Data System's Pancam images with MERNet and search the result.",
    epilog="With no settings, Postgres and Redis run embedded, in a folder of yours. "
    "Start with: mernet demo",
)
app.add_typer(run.app, name="run")
app.command()(status.status)
app.command()(status.reconcile)
app.command()(classify.classify)
app.command()(search.search)
app.command()(search.show)
app.add_typer(classifier.app, name="classifier")
app.add_typer(database.app, name="db")
app.add_typer(services.app, name="services")
app.command()(worker.worker)
app.command()(scheduler.beat)
app.add_typer(health.app, name="health")
app.command()(metrics.metrics)
app.command()(demo.demo)
app.add_typer(data.app, name="data", rich_help_panel=LEARNING)
for command in (train.train, evaluate.evaluate, reproduce.reproduce, discover.discover):
    app.command(rich_help_panel=LEARNING)(command)


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Handle the options of `mernet` itself."""
    if show_version:
        typer.echo(f"mernet {version('mernet')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; our own errors end with one sentence and exit code 1."""
    try:
        app()
    except MernetError as error:
        _complain(str(error))
    except SQLAlchemyError as error:
        _complain(f"The database failed ({str(error).splitlines()[0]}); see its log and try again.")
    except OSError as error:
        _complain(f"{error}; look at the path, its permissions and the space left.")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _complain(message: str) -> NoReturn:
    err.print(f"Error: {message}", style="bold red", markup=False, soft_wrap=True)
    sys.exit(1)
