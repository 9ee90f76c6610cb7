"""Errors as commands report them: one sentence, and the command that helps, by the error's type."""

import errno
from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

from mernet.cli.shared.output import complain
from mernet.db.errors import (
    ClassesPruned,
    ClassifierInOpenRun,
    NoCurrentClassifier,
    NoRuns,
    NotClassified,
    NothingToRollBack,
    ProductFailed,
    SchemaOutdated,
    TooManyWithdrawn,
    UnknownClassifier,
    UnknownRun,
)
from mernet.errors import MernetError
from mernet.model.errors import EmptyPartError, NotACheckpoint, WeightsDownloadError
from mernet.pds.errors import ForbiddenError, ShortListingError
from mernet.printable import printable
from mernet.worker.errors import BrokerError, ClassesNotPublishable, ServersStopped

ADVICE: Mapping[type[MernetError], str] = {
    ClassesNotPublishable: "`mernet evaluate` does so.",
    BrokerError: "`mernet services start` starts the embedded servers.",
    ClassesPruned: "`mernet classifier promote NAME` does so.",
    ClassifierInOpenRun: "`mernet run cancel N` cancels it.",
    EmptyPartError: "`mernet data split` writes a new split file.",
    NotACheckpoint: "`mernet train` writes one.",
    ForbiddenError: "`MERNET_CONTACT` sets the contact; `--mirror URL` uses a mirror.",
    NoCurrentClassifier: "`mernet classifier add FILE --promote` does both; `mernet demo` does so "
    "with a demo checkpoint.",
    NoRuns: "`mernet run full` starts one.",
    NotClassified: "`mernet status` shows how far runs are.",
    NothingToRollBack: "`mernet classifier promote NAME` makes another one current.",
    ProductFailed: "`mernet run retry` does so.",
    ServersStopped: "`mernet services start` does so, and a worker then continues the open runs.",
    SchemaOutdated: "`mernet db upgrade` creates or upgrades the tables.",
    ShortListingError: "`--accept-short-listing` of `mernet run full` and `mernet run new` accepts "
    "it.",
    TooManyWithdrawn: "`mernet run new --withdraw-many` confirms it.",
    UnknownClassifier: "`mernet classifier list` shows the registered ones; `mernet classifier add "
    "FILE --promote` registers one and makes it current.",
    WeightsDownloadError: "`--weights FILE` uses a downloaded file from any folder.",
    UnknownRun: "`mernet run list` shows the runs.",
}
"""What to do about an error of this type or a type derived from it, in a sentence.

The rooms below state the cause and the remedy in general terms; they name no commands.
"""

OS_ERRORS: Mapping[int, tuple[str, str]] = {
    errno.ENOENT: ("does not exist", "check the path"),
    errno.EACCES: ("may not be used by this user", "change its permissions or choose another path"),
    errno.EPERM: ("may not be changed by this user", "change its owner or choose another path"),
    errno.EROFS: ("is on a disk that can only be read", "choose a path on another disk"),
    errno.ENOSPC: ("cannot be written, since its disk is full", "free space on it"),
    errno.EDQUOT: ("cannot be written, since your disk quota is used up", "free space"),
    errno.EISDIR: ("is a folder", "give a file"),
    errno.ENOTDIR: ("is not in a folder, since a part of the path is a file", "check the path"),
    errno.EEXIST: ("exists already", "choose another path"),
    errno.ENAMETOOLONG: ("is too long for this disk", "choose a shorter path"),
    errno.EADDRINUSE: ("is in use", "stop the program that uses the port, or choose another port"),
}
"""What is wrong with a path and what to do, by the number of an error of the operating system."""

LEARNING_LIBRARIES = frozenset({"jinja2", "matplotlib", "scipy", "sklearn"})
"""What the extra `learning` installs, by import name."""


def print_error(error: Exception) -> bool:
    """Print what to do about `error`; return False if it is a programming error, not printed."""
    message = _to_sentence(error)
    if message is not None:
        complain(f"Error: {message}")
    return message is not None


def with_advice(error: MernetError) -> str:
    """Return the message of an error, and the commands that help with it or with its causes."""
    causes: tuple[MernetError, ...] = getattr(error, "causes", ())
    found = (_advice(type(each)) for each in (error, *causes))
    advice = " ".join(dict.fromkeys(each for each in found if each))
    return f"{str(error).removesuffix('.')}. {advice}" if advice else str(error)


def _to_sentence(error: Exception) -> str | None:
    if isinstance(error, MernetError):
        return with_advice(error)
    if isinstance(error, SQLAlchemyError):
        cause = printable(str(error).partition("\n")[0])
        return f"The database failed ({cause}); check its log and try again."
    if isinstance(error, ModuleNotFoundError):
        return _advice_to_install((error.name or "").partition(".")[0])
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return None


def _describe_os_error(error: OSError) -> str:
    """Return what the operating system refused, and what helps."""
    cause, remedy = OS_ERRORS.get(error.errno or 0, ("", ""))
    if not cause:
        return f"{printable(error)}; check the path, its permissions and the free space."
    if error.filename is None:
        return f"{printable(error.strerror)}; {remedy}."
    return f"{printable(error.filename)} {cause}; {remedy}."


def _advice_to_install(library: str) -> str | None:
    if library not in LEARNING_LIBRARIES:
        return None
    return f"This command needs {library}; install it with: pip install 'mernet[learning]'"


def _advice(kind: type[MernetError]) -> str | None:
    """Return the advice of the nearest type that has one."""
    return next((ADVICE[each] for each in kind.__mro__ if each in ADVICE), None)
