"""`mernet demo`: the tour, and the server of its sample archive."""

from typing import Annotated

import typer

from mernet.cli.shared.output import note


def demo(
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Only serve the sample archive over HTTP until Ctrl-C, so that runs, retries and "
            "links of the demo work again.",
        ),
    ] = False,
) -> None:
    """Show the service at work: a sample archive of drawn scenes, classified end to end.

    Starts the embedded servers, draws about 260 products with known truth, and fits a checkpoint
    that knows drawn scenes only. A second run uses what the first one made.
    """
    # Here because sklearn and torch take seconds to import, and --help starts fast without them.
    from mernet.demo.tour import serve_sample_archive, tour

    try:
        serve_sample_archive() if serve else tour()
    except KeyboardInterrupt:
        note("Stopped; `mernet demo` continues from here.")
        raise
