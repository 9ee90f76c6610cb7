"""What Ctrl-C does: exit at once, without a traceback, until a command's own code runs."""

import os

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT."""

try:
    import signal
except KeyboardInterrupt:
    os._exit(INTERRUPTED)


def exit_at_once() -> None:
    """From now on, let Ctrl-C end the process at once with exit code 130.

    An exception that is raised while modules are imported, or while the interpreter ends, may be
    printed by a library, or lost. Nothing needs to be cleaned up at these times. A process that was
    told to ignore Ctrl-C, as with nohup, goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit_at_once)


def raise_interrupts() -> None:
    """From now on, let Ctrl-C raise KeyboardInterrupt, after which a command cleans up."""
    if signal.getsignal(signal.SIGINT) is _exit_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_at_once(*_: object) -> None:
    os._exit(INTERRUPTED)
