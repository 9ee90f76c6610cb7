"""The tour: shows the service on the sample archive, with the commands that a user would type."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mernet.demo.archive import write_archive
from mernet.demo.checkpoint import create_checkpoint
from mernet.demo.errors import DemoError
from mernet.demo.evaluation import print_evaluation
from mernet.demo.parallel import CountCallback
from mernet.demo.raw_product import MISSIONS
from mernet.demo.server import serve
from mernet.model.training.text_files import write_text
from mernet.self_command import self_command
from mernet.worker.checkpoints import DEMO_CLASSIFIER
from mernet.worker.settings import Settings, settings

VOLUMES = [mission.volume for mission in MISSIONS.values()]

PORT = 8808
"""The port of the sample archive, unless it is in use when the archive is first served."""

EXPECTED_EXIT_CODES = (0, 3)
"""3 means that products failed: some files of the sample archive are damaged or missing."""

SEARCHED_CLASS, SEARCH_LIMIT = "rtr", 5

console = Console(highlight=False)


def tour() -> None:
    """Create the archive and the checkpoint, run all steps, and evaluate the published classes.

    An archive and a checkpoint from an earlier call are used again.

    Raises:
        DemoError: A step failed, or the tables hold real results, which the demo must not mix with
            its own.
    """
    config = settings()
    _refuse_real_tables(config)
    began = time.monotonic()
    _create_archive_and_checkpoint(config)
    archive = _archive_folder(config)
    with _serve_at_its_port(archive) as url:
        _run(url)
    _search()
    _print_title("7. The published classes compared with the true ones")
    _print("For the images of the two volumes, without those of the PDS4 bundle:")
    print_evaluation(console, config.database, archive / "truth.csv")
    _print_title(f"Done in {time.monotonic() - began:.0f} seconds")
    _print_next_steps(archive)


def _archive_folder(config: Settings) -> Path:
    return config.data_dir / "demo" / "archive"


def _create_archive_and_checkpoint(config: Settings) -> None:
    _print_title("1. Create a sample archive: drawn scenes in the file formats of the real archive")
    archive = _archive_folder(config)
    with _progress_bar("Drawing products") as on_progress:
        write_archive(archive, on_progress=on_progress)
    _print(f"The archive is in {archive}; its truth.csv lists the classes that each scene shows.")

    _print_title("2. Create a checkpoint, trained on drawn scenes only")
    with _progress_bar("Training on other drawn scenes") as on_progress:
        create_checkpoint(config.demo_checkpoint, on_progress=on_progress)
    _print("It has random VGG-16 features, a fitted chain of 25 classes and a fitted calibration.")
    _print("It is not MERNet and knows nothing about Mars; the README says how to train MERNet.")
    _run_command("classifier", "add", str(config.demo_checkpoint), "--promote")


def _run(url: str) -> None:
    """Run over the volumes at `url`, check the run, and run over the PDS4 bundle."""
    _print_title("3. A full run: list, fetch over HTTP, decode, classify and publish the images")
    volumes = (word for volume in VOLUMES for word in ("--archive", f"{url}{volume}/"))
    _run_command("run", "full", *volumes, "--follow")

    _print_title("4. Check that every listed image has an outcome")
    _run_command("reconcile")

    _print_title("5. A full run over the calibrated images (rdr) of a PDS4 bundle")
    bundle = f"{url}pds4/collection_data_inventory.csv"
    _run_command("run", "full", "--archive", bundle, "--products", "rdr", "--follow")


def _search() -> None:
    """Search for all images, for the best of one class, and show the first of these."""
    _print_title("6. Search the published classes")
    _run_command("search")
    _run_command("search", SEARCHED_CLASS, "--limit", str(SEARCH_LIMIT))
    best = json.loads(_read_command_output("search", SEARCHED_CLASS, "--limit", "1", "--json"))
    if best:
        _run_command("show", best[0]["product_id"])


def serve_sample_archive() -> None:
    """Serve the sample archive until Ctrl-C.

    Raises:
        DemoError: The demo has not created the archive yet.
    """
    archive = _archive_folder(settings())
    if not archive.is_dir():
        raise DemoError("The sample archive does not exist yet; run `mernet demo` first.")
    with _serve_at_its_port(archive) as url:
        _print(f"The sample archive is served at {url} until Ctrl-C.")
        while True:
            time.sleep(3600)


def _refuse_real_tables(config: Settings) -> None:
    """Raise DemoError if the demo would mix rows of drawn scenes with real results."""
    if config.database_url is not None:
        raise DemoError(
            "The demo publishes drawn scenes, so it runs with the embedded database only; "
            "unset MERNET_DATABASE_URL and run it again."
        )
    known = json.loads(_read_command_output("classifier", "list", "--json"))
    current = [
        each["name"] for each in known if each["current"] and each["name"] != DEMO_CLASSIFIER
    ]
    if current:
        raise DemoError(
            f"The embedded database holds results of the classifier {current[0]}; give the demo "
            "a data folder of its own: MERNET_DATA_DIR=FOLDER mernet demo"
        )


@contextmanager
def _serve_at_its_port(archive: Path) -> Iterator[str]:
    """Serve the archive on loopback, always at the port at which it was served first.

    The published URLs contain the port, so at another one they would lead nowhere.

    Raises:
        DemoError: Another program uses the port.
    """
    port_file = archive.parent / "port"
    known = int(port_file.read_text()) if port_file.is_file() else None
    with ExitStack() as stack:
        try:
            url = stack.enter_context(serve(archive, known or PORT))
        except OSError as error:
            if known:
                raise DemoError(
                    f"Port {known} is in use, but the published URLs of the sample archive contain "
                    "it. If another `mernet demo` serves the archive, nothing needs to be done; "
                    "otherwise stop the program that uses the port, or give the demo a new data "
                    "folder: MERNET_DATA_DIR=FOLDER mernet demo"
                ) from error
            url = stack.enter_context(serve(archive, 0))
        write_text(port_file, str(urlsplit(url).port))
        yield url


def _run_command(*arguments: str) -> None:
    """Print a `mernet` command and run it; its output goes to the terminal."""
    console.print(
        f"$ mernet {' '.join(arguments)}", style="bold cyan", markup=False, soft_wrap=True
    )
    with subprocess.Popen(self_command(*arguments)) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the command received it too and shuts down
            process.wait()
            raise
    if code not in EXPECTED_EXIT_CODES:
        raise DemoError(f"`mernet {' '.join(arguments)}` failed; its error is printed above.")
    console.print()


def _read_command_output(*arguments: str) -> str:
    """Run a `mernet` command and return what it prints."""
    ran = subprocess.run(self_command(*arguments), capture_output=True, text=True)
    if ran.returncode != 0:
        raise DemoError(f"`mernet {' '.join(arguments)}` failed: {ran.stderr.strip()}")
    return ran.stdout


@contextmanager
def _progress_bar(title: str) -> Iterator[CountCallback]:
    """Show a progress bar and yield the function that updates it."""
    if not console.is_terminal:
        _print(f"{title} ...")
    with Progress(
        TextColumn(title),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_title(text: str) -> None:
    console.print(f"\n{text}", style="bold green", markup=False)


def _print(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _print_next_steps(archive: Path) -> None:
    _print(
        "The embedded Postgres and Redis keep running; `mernet services stop` stops them.\n"
        "To see more:\n"
        "  mernet demo --serve    serve the sample archive again, for the URLs above and retries\n"
        "  mernet search sky --without div --rover Spirit    images by class\n"
        "  mernet status                                     what was left out, what failed\n"
        "  mernet run full --archive DIR --products any --follow    images of your own\n"
        f"  {archive}/mer2po_0xxx/browse    the drawn scenes as pictures"
    )
