"""What can go wrong in the demo room; every message says what to do."""

from mernet.errors import MernetError


class DemoError(MernetError):
    """Base of this room's errors."""


class OccupiedFolderError(DemoError):
    """A folder holds something else than what is to be drawn into it."""
