"""Errors of this room; every message names the cause and what to do."""

from mernet.db.obstacles import ObstacleKind
from mernet.errors import MernetError


class WorkerError(MernetError):
    """Base of this room's errors."""


class SettingsError(WorkerError):
    """A setting is missing or has a value that cannot be used."""


class BrokerError(WorkerError):
    """The broker does not answer."""


class NameInUse(WorkerError):
    """A worker of the same name is already running on this host."""


class Abandoned(WorkerError):
    """The work must stop: its run was cancelled, or another worker has claimed it."""


class MustWait(WorkerError):
    """The work cannot be done now; `seconds` is the time until the obstacle's next try."""

    def __init__(self, kind: ObstacleKind, subject: str, seconds: float) -> None:
        super().__init__(f"The work waits {seconds:.0f} s for {kind} {subject}.")
        self.kind = kind
        self.subject = subject
        self.seconds = seconds

    @property
    def summary(self) -> str:
        """What the task returns."""
        return f"waits {self.seconds:.0f} s for {self.kind} {self.subject}"


class HostDown(WorkerError):
    """An archive host is down.

    Attributes:
        host: Its scheme, name and port.
        cause: The last failure.
        retry_after: Seconds to wait that it asked for, None if it did not.
    """

    def __init__(self, host: str, cause: str, retry_after: float | None = None) -> None:
        super().__init__(f"{host} is down: {cause}")
        self.host = host
        self.cause = cause
        self.retry_after = retry_after


class ListingTooLarge(WorkerError):
    """A listing needs more memory than this process may have, though the machine has some left."""


class CheckpointUnusable(WorkerError):
    """A checkpoint is missing on this host, cannot be loaded, or has changed."""


class ClassesNotPublishable(CheckpointUnusable):
    """A checkpoint has other classes than MERNet's 25, so its results cannot be published."""


class ArchivesNotListed(WorkerError):
    """One or more archives could not be listed, so their new products are still unknown.

    Attributes:
        causes: Why, archive by archive.
        waits: What archives wait for.
    """

    def __init__(
        self,
        message: str,
        causes: tuple[MernetError, ...] = (),
        waits: tuple[MustWait, ...] = (),
    ) -> None:
        super().__init__(message)
        self.causes = causes
        self.waits = waits


class ServiceError(WorkerError):
    """An embedded server did not start or stop."""


class ServersStopped(ServiceError):
    """The embedded servers are stopped, and what was asked for does not start them."""
