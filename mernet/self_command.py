"""The command line that starts this program again, in a process of its own."""

import sys


def self_command(*words: str) -> list[str]:
    """Return the command line of `mernet` with these words as its arguments.

    The same Python interpreter is used. Its option -P keeps the working folder off the module
    search path, so that a file such as `redis.py` there is not imported in place of a library.
    """
    return [sys.executable, "-P", "-m", "mernet", *words]
