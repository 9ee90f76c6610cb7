"""The tour: the service at work on the sample archive, shown by the commands a user would type."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mernet.demo.archive import write_archive
from mernet.demo.checkpoint import make_checkpoint
from mernet.demo.errors import DemoError
from mernet.demo.judge import judge
from mernet.demo.paths import sample_archive
from mernet.demo.server import serve
from mernet.self_command import self_command
from mernet.worker.checkpoints import DEMO_CLASSIFIER
from mernet.worker.settings import Settings, settings

PORT = 8808
"""Where the sample archive is served: always the same, so that the URLs in the table stay good."""

DONE = (0, 3)
"""Exit codes of `mernet`: 0, or 3 since some images of the sample archive are damaged."""

BEST_SHOWN = 5
CLASS_SHOWN = "rtr"

console = Console(highlight=False)


def tour() -> None:
    """Make archive and checkpoint, run everything, and judge the result by the known truth.

    What was made before is used again. Raises `DemoError` when a step fails, or where the demo's
    rows would stand beside real ones.
    """
    config = settings()
    _refuse_real_tables(config)
    began = time.monotonic()
    _make(config)
    with _served(sample_archive(config)) as url:
        _run(url)
    _search()
    _title("7. Judged by the truth")
    _say("The images of the two volumes only, not those of the PDS4 bundle:")
    judge(console, config.database, sample_archive(config) / "truth.csv")
    _title(f"Done in {time.monotonic() - began:.0f} seconds")
    _where_next(sample_archive(config))


def _make(config: Settings) -> None:
    """The sample archive and the checkpoint."""
    _title("1. A sample archive of drawn scenes, true to the archive's formats")
    archive = sample_archive(config)
    with _progress("Drawing products") as progress:
        write_archive(archive, progress=progress)
    _say(f"It lies in {archive}; truth.csv beside the volumes says what each scene shows.")

    _title("2. A checkpoint that knows only drawn scenes")
    with _progress("Learning from other drawn scenes") as progress:
        make_checkpoint(config.demo_checkpoint, progress=progress)
    _say("Random VGG-16 features, a fitted chain of 25 classes, fitted calibration. Not MERNet:")
    _say("it has never seen Mars. The README tells how a real checkpoint is made; none is shipped.")
    _mernet("classifier", "add", str(config.demo_checkpoint), "--promote")


def _run(url: str) -> None:
    """A full run over the volumes at `url`, its proof, and a run over the PDS4 bundle."""
    _title("3. A full run: listed, fetched over HTTP, decoded, classified, published")
    _mernet("run", "full", *_volumes(url), "--follow")

    _title("4. The proof that nothing is missing")
    _mernet("reconcile")

    _title("5. The same for the calibrated images (rdr) of a PDS4 bundle")
    bundle = f"{url}pds4/collection_data_inventory.csv"
    _mernet("run", "full", "--archive", bundle, "--products", "rdr", "--follow")


def _search() -> None:
    """Images by class, the best of one class, and all probabilities of the very best."""
    _title("6. What an Atlas query returns")
    _mernet("search")
    _mernet("search", CLASS_SHOWN, "--limit", str(BEST_SHOWN))
    best = json.loads(_output("search", CLASS_SHOWN, "--limit", "1", "--json"))
    if best:
        _mernet("show", best[0]["product"])


def serve_sample_archive() -> None:
    """Serve the sample archive until Ctrl-C. Raises `DemoError` when the demo has not made it."""
    archive = sample_archive(settings())
    if not archive.is_dir():
        raise DemoError("There is no sample archive yet; run `mernet demo` first.")
    with _served(archive) as url:
        _say(f"The sample archive is served at {url} until Ctrl-C.")
        while True:
            time.sleep(3600)


def _refuse_real_tables(config: Settings) -> None:
    """Drawn rows must not come to stand beside rows that scientists trust."""
    if config.database_url is not None:
        raise DemoError(
            "The demo publishes drawn scenes, so it uses the embedded database only; "
            "unset MERNET_DATABASE_URL for it."
        )
    known = json.loads(_output("classifier", "list", "--json"))
    current = [
        each["name"] for each in known if each["current"] and each["name"] != DEMO_CLASSIFIER
    ]
    if current:
        raise DemoError(
            f"The embedded database is in use with the classifier {current[0]}; run the demo in "
            "a folder of its own: MERNET_DATA_DIR=FOLDER mernet demo"
        )


@contextmanager
def _served(archive: Path) -> Iterator[str]:
    """The archive over HTTP on loopback, at its usual port unless that is taken."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(serve(archive, PORT))
        except OSError:
            url = stack.enter_context(serve(archive, 0))
        yield url


def _volumes(url: str) -> list[str]:
    return ["--archive", f"{url}mer1po_0xxx/", "--archive", f"{url}mer2po_0xxx/"]


def _mernet(*arguments: str) -> None:
    """Show a `mernet` command and run it; its output goes to the terminal as it comes."""
    console.print(
        f"$ mernet {' '.join(arguments)}", style="bold cyan", markup=False, soft_wrap=True
    )
    with subprocess.Popen(_command(arguments)) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the command has got it too; it ends in order
            process.wait()
            raise
    if code not in DONE:
        raise DemoError(f"`mernet {' '.join(arguments)}` failed; what it said stands above.")
    console.print()


def _output(*arguments: str) -> str:
    """What a `mernet` command prints."""
    ran = subprocess.run(_command(arguments), capture_output=True, text=True)
    if ran.returncode != 0:
        raise DemoError(f"`mernet {' '.join(arguments)}` failed: {ran.stderr.strip()}")
    return ran.stdout


def _command(arguments: Sequence[str]) -> list[str]:
    return self_command(*arguments)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, moved by calling it with what is done and what there is to do."""
    if not console.is_terminal:
        _say(f"{title} ...")
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


def _title(text: str) -> None:
    console.print(f"\n{text}", style="bold green", markup=False)


def _say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _where_next(archive: Path) -> None:
    _say(
        "The embedded Postgres and Redis keep running; `mernet services stop` stops them.\n"
        "Look further:\n"
        "  mernet demo --serve    serve the sample archive again, for the URLs above and retries\n"
        "  mernet search sky --without div --rover Spirit    images by class\n"
        "  mernet status                                     what was left out, what failed\n"
        "  mernet run full --archive DIR --products any --follow    images of your own\n"
        f"  {archive}/mer2po_0xxx/browse    the drawn scenes as pictures"
    )
