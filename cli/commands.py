"""All commands of `mernet`: their names, functions and the first lines of their help."""

from typing import Annotated, Any

import typer
from typer import completion

from mernet.cli.lazy_group import Command, CommandGroup, LazyGroup, lazy_commands

LEARNING = "Learning: from labelled images to an evaluated checkpoint"

COMMANDS = (
    CommandGroup(
        "run",
        "Runs: one pass over a list of products, from the queue to its end.",
        (
            Command(
                "full",
                "service.run:full",
                "Queue a run over all eligible products: left-eye Pancam, filter 2, 512 or 1024 "
                "pixels square.",
            ),
            Command(
                "new",
                "service.run:new",
                "Queue a run over new products: those that no run of the current classifier "
                "includes.",
            ),
            Command(
                "retry",
                "service.run:retry",
                "Queue a run over the products that failed under the current classifier.",
            ),
            Command(
                "cancel",
                "service.run:cancel",
                "Cancel a run: nothing more is classified or published; published results stay.",
            ),
            Command(
                "pause",
                "service.run:pause",
                "Start no more chunks of a run until it is resumed; those in progress are still "
                "published.",
            ),
            Command(
                "resume",
                "service.run:resume",
                "Continue a paused run.",
            ),
            Command(
                "list",
                "service.run:list_latest",
                "List the latest runs, newest first.",
            ),
        ),
    ),
    CommandGroup(
        "archive",
        "Archives: where products come from.",
        (
            Command(
                "moved",
                "service.archive:moved",
                "Tell the service that an archive or folder has moved: its products keep their "
                "results.",
            ),
        ),
    ),
    Command(
        "status",
        "service.status:status",
        "Show a run's progress, what work waits for, products that failed, and the workers.",
    ),
    Command(
        "reconcile",
        "service.status:reconcile",
        "Prove that a run is complete: listed = classified + failed + kept, and the tables agree.",
    ),
    Command(
        "classify",
        "service.classify:classify",
        "Print the probabilities of the classes for local files; no database is used.",
    ),
    Command(
        "search",
        "service.search:search",
        "Find images by class, the most probable first; without a class, count images by class.",
    ),
    Command(
        "show",
        "service.search:show",
        "Show all 25 probabilities of one product, and which classes are published.",
    ),
    CommandGroup(
        "classifier",
        "Registered classifiers. One is current: new runs use it, and searches show its classes.",
        (
            Command(
                "add",
                "service.classifier:add",
                "Register a checkpoint and store a copy of it, named by its SHA-256, in the data "
                "folder.",
            ),
            Command(
                "promote",
                "service.classifier:promote_classifier",
                "Make a classifier current: new runs use it, and searches show its classes at "
                "once.",
            ),
            Command(
                "rollback",
                "service.classifier:rollback",
                "Undo the last promotion: the previous classifier is current again at once.",
            ),
            Command(
                "list",
                "service.classifier:list_classifiers",
                "List the registered classifiers, oldest first, and the thresholds set for single "
                "classes.",
            ),
            Command(
                "diff",
                "service.classifier:diff",
                "Show which classes images gain and lose if one classifier replaces another.",
            ),
            Command(
                "threshold",
                "service.classifier:threshold",
                "Set the probability above which a class is published, for new and existing "
                "scores.",
            ),
            Command(
                "prune",
                "service.classifier:prune",
                "Delete the outcomes and published classes of a classifier that is not current.",
            ),
        ),
    ),
    CommandGroup(
        "db",
        "The tables in Postgres, and logins that may only read.",
        (
            Command(
                "upgrade",
                "service.database:upgrade",
                "Create the tables or upgrade them to this program's version; no data is lost.",
            ),
            Command(
                "reader",
                "service.database:reader",
                "Create a login that may read the view atlas_search and nothing else, or change "
                "its password.",
            ),
            Command(
                "logins",
                "service.database:logins",
                "Create the logins of the service, mernet_owner and mernet_worker, or change their "
                "passwords.",
            ),
        ),
    ),
    CommandGroup(
        "services",
        "The embedded Postgres and Redis, used unless MERNET_DATABASE_URL and MERNET_BROKER_URL "
        "are set.",
        (
            Command(
                "start",
                "service.services:start",
                "Start the embedded servers that are not running.",
            ),
            Command(
                "stop",
                "service.services:stop",
                "Stop the embedded servers; their data stays on disk.",
            ),
            Command(
                "status",
                "service.services:status",
                "Show which embedded servers are used, whether they are running, and their URLs.",
            ),
        ),
    ),
    Command(
        "worker",
        "service.worker:worker",
        "Process runs until Ctrl-C; then finish the chunks in progress and exit.",
    ),
    Command(
        "scheduler",
        "service.scheduler:scheduler",
        "Do the periodic tasks until Ctrl-C: the sweep, and the ingest with MERNET_INGEST_SECONDS.",
    ),
    CommandGroup(
        "health",
        "Health checks of the workers and the scheduler on this host.",
        (
            Command(
                "worker",
                "service.health:worker",
                "Exit with 0 if every worker of this host accepts messages or is busy, else with "
                "1.",
            ),
            Command(
                "scheduler",
                "service.health:scheduler",
                "Exit with 0 if a scheduler of this MERNET_DATA_DIR swept the ledger recently, "
                "else with 1.",
            ),
        ),
    ),
    Command(
        "metrics",
        "service.metrics:metrics",
        "Serve metrics of runs, chunks, queues and workers to Prometheus until Ctrl-C.",
    ),
    Command(
        "flower",
        "service.flower:flower",
        "Serve Flower, a web page of the workers and their tasks, until Ctrl-C.",
    ),
    Command(
        "demo",
        "service.demo:demo",
        "Show the service at work: a sample archive of drawn scenes, classified end to end.",
    ),
    CommandGroup(
        "data",
        "Labelled data sets: describe and split them, or create them.",
        (
            Command(
                "describe",
                "learning.data:describe",
                "Count images by class and part, labels per image and duplicates; print the "
                "digest.",
            ),
            Command(
                "split",
                "learning.data:split_data",
                "Split a data set into train, validation and test, each with its share of every "
                "class.",
            ),
            Command(
                "sample",
                "learning.data_sample:sample",
                "Draw a random sample of eligible images to label, with a share from each site of "
                "each rover.",
            ),
            Command(
                "draw",
                "learning.data_draw:draw",
                "Draw artificial scenes of known classes, with their labels and with names like "
                "products.",
            ),
            Command(
                "consensus",
                "learning.data_consensus:consensus",
                "Create labels from volunteers' choices; only a volunteer's last vote on an image "
                "counts.",
            ),
        ),
        panel=LEARNING,
    ),
    Command(
        "train",
        "learning.train:train",
        "Train on labelled images, calibrate on others, and write a checkpoint.",
        panel=LEARNING,
    ),
    Command(
        "evaluate",
        "learning.evaluate:evaluate",
        "Evaluate a checkpoint: calibration, precision, recall, and the chain against its control.",
        panel=LEARNING,
    ),
    Command(
        "reproduce",
        "learning.reproduce:reproduce",
        "Run the abstract's experiment: split, train, calibrate, evaluate, and print its Table 1.",
        panel=LEARNING,
    ),
    Command(
        "discover",
        "learning.discover:discover",
        "Rank the images that differ most from all known ones, the most novel first (DEMUD).",
        panel=LEARNING,
    ),
)


class _Mernet(LazyGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"commands": lazy_commands(COMMANDS)})


# Typer's own options for completion import Pydantic, as `LazyGroup.get_help_option` says of --help;
# those of `_mernet` below do the same and are flags.
completion.get_completion_inspect_parameters()  # registers the shells that can complete
app = typer.Typer(
    cls=_Mernet,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Classify the Planetary Data System's Pancam images with MERNet and search the result.",
    epilog="With no settings, embedded Postgres and Redis run in your data folder. "
    "Start with: mernet demo",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # here because help and completion do not need it

        typer.echo(f"mernet {version('mernet')}")
        raise typer.Exit


@app.callback()
def _mernet(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=completion.install_callback,
            help="Install completion for the current shell and exit.",
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion",
            callback=completion.show_callback,
            help="Print the completion script of the current shell and exit.",
        ),
    ] = False,
) -> None:
    """Read the options of `mernet` itself; their callbacks do the work."""
