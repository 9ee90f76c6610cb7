"""Errors of the demo. Every message says what to do."""

from mernet.errors import MernetError


class DemoError(MernetError):
    """Base of the demo's errors."""


class OccupiedFolderError(DemoError):
    """The folder that a data set is drawn into holds other files."""
