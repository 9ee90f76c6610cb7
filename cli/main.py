"""The entry point of the `mernet` command: runs it and turns errors into one sentence."""

from mernet.cli.interrupts import INTERRUPTED, exit_at_once

exit_at_once()  # before other modules are imported

import io  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402


def main() -> None:
    """Run the command line.

    An expected error ends it with one sentence and exit code 1, Ctrl-C with exit code 130, also
    while modules are imported. What the errors' texts need is imported only after one.
    """
    # A Python process that this one starts does not import modules of the working folder either.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is shown as its escape, not an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from mernet.cli.commands import app

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # an unknown error is raised again, with its traceback
        from mernet.cli.shared.errors import print_error

        if not print_error(error):
            raise
        sys.exit(1)
    finally:
        exit_at_once()
