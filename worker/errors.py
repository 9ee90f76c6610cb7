"""What can go wrong around a run; every message says what to do."""

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
    """Work is no longer wanted: its run was cancelled, or another worker has it."""


class CheckpointUnusable(WorkerError):
    """The checkpoint of a run's classifier is missing on this machine, or is not the one known."""


class ArchivesNotListed(WorkerError):
    """Archives could not be listed, so nothing was taken up of what they have new."""


class ServiceError(WorkerError):
    """An embedded server did not start or stop."""
