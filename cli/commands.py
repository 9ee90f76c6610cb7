"""All commands of `mernet`: their names, functions and the first lines of their help."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer import completion

from mernet.cli.lazy_group import Command, Group, LazyGroup, lazy_commands

LEARNING = "Learning: from labelled images to an evaluated checkpoint"

COMMANDS = (
    Group(
        "run",
        "Runs: one pass over a list of products, from queueing to its end.",
        (
            Command(
                "full",
                "service.run:full",
                "Queue a run over all eligible products: left-eye Pancam images through filter 2, "
                "512 or 1024.",
            ),
            Command(
                "new",
                "service.run:new",
                "Queue a run over what an archive lists that no run under the current classifier "
                "took up.",
            ),
            Command(
                "retry",
                "service.run:retry",
                "Queue a run over the products that failed under the current classifier.",
            ),
            Command(
                "cancel",
                "service.run:cancel",
                "End a run: nothing of it is classified or published from now on; what is "
                "published stays.",
            ),
            Command(
                "pause",
                "service.run:pause",
                "Begin no more chunks of a run until it is resumed; those at hand finish and are "
                "published.",
            ),
            Command("resume", "service.run:resume", "Let a paused run go on where it stopped."),
            Command("list", "service.run:list_latest", "List the latest runs, newest first."),
        ),
    ),
    Command(
        "status",
        "service.status:status",
        "Show how far a run is, what was left out, what failed and why, and who works on it.",
    ),
    Command(
        "reconcile",
        "service.status:reconcile",
        "Prove that a run is complete: listed = classified + failed, and the table says the same.",
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
        "Show all 25 probabilities of one product, and which of them are published.",
    ),
    Group(
        "classifier",
        "The registered classifiers. One is current: new runs use it, searches see its classes.",
        (
            Command(
                "add",
                "service.classifier:add",
                "Register a checkpoint, and keep a copy of it under its sha256 in the data folder.",
            ),
            Command(
                "promote",
                "service.classifier:promote_classifier",
                "Make a classifier the current one: new runs use it, searches see its classes at "
                "once.",
            ),
            Command(
                "rollback",
                "service.classifier:rollback",
                "Undo the last promotion: the classifier before it is current again, at once.",
            ),
            Command(
                "list",
                "service.classifier:list_classifiers",
                "List the registered classifiers, the oldest first, and the thresholds of single "
                "classes.",
            ),
            Command(
                "diff",
                "service.classifier:diff",
                "Show which classes images gain and lose when one classifier takes the place of "
                "another.",
            ),
            Command(
                "threshold",
                "service.classifier:threshold",
                "Publish a class above another probability, from now on and in what is scored "
                "already.",
            ),
            Command(
                "prune",
                "service.classifier:prune",
                "Delete what a classifier that is not current has left: its outcomes and published "
                "classes.",
            ),
        ),
    ),
    Group(
        "db",
        "The ledger's tables in Postgres.",
        (
            Command(
                "upgrade",
                "service.database:upgrade",
                "Create the tables, or bring them to this program's version; nothing is lost.",
            ),
            Command(
                "reader",
                "service.database:reader",
                "Make a login that may read the view atlas_search and nothing else, or change its "
                "password.",
            ),
        ),
    ),
    Group(
        "services",
        "The embedded Postgres and Redis, used when MERNET_DATABASE_URL and MERNET_BROKER_URL are "
        "not set.",
        (
            Command(
                "start",
                "service.services:start",
                "Start the embedded servers; nothing happens to those that run.",
            ),
            Command(
                "stop", "service.services:stop", "Stop the embedded servers; their data stays."
            ),
            Command(
                "status",
                "service.services:status",
                "Show which servers this command uses and whether the embedded ones run.",
            ),
        ),
    ),
    Command(
        "worker",
        "service.worker:worker",
        "Work on runs until Ctrl-C; then finish the chunks at hand and end.",
    ),
    Command(
        "beat",
        "service.scheduler:beat",
        "Keep the timetable until Ctrl-C: the sweep, and the ingest with MERNET_INGEST_SECONDS.",
    ),
    Group(
        "health",
        "Whether what runs on this host does its work, for health checks.",
        (
            Command(
                "worker",
                "service.health:worker",
                "Exit with 0 where every worker of this host takes messages or is busy, else "
                "with 1.",
            ),
            Command(
                "beat",
                "service.health:beat",
                "Exit with 0 where `mernet beat` with this MERNET_DATA_DIR sent a message lately, "
                "else 1.",
            ),
        ),
    ),
    Command(
        "metrics",
        "service.metrics:metrics",
        "Serve metrics of runs, chunks, queues and workers to Prometheus until Ctrl-C.",
    ),
    Command(
        "demo",
        "service.demo:demo",
        "Show the service at work: a sample archive of drawn scenes, classified end to end.",
    ),
    Group(
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
                "learning.data:consensus",
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
    epilog="With no settings, Postgres and Redis run embedded, in a folder of yours. "
    "Start with: mernet demo",
)


def _print_version(wanted: bool) -> None:
    if wanted:
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
