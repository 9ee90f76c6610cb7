"""What can go wrong in the demo room; every message says what to do."""


class DemoError(Exception):
    """Base of this room's errors."""


class ServiceError(DemoError):
    """An embedded server did not start or stop."""


class OccupiedFolderError(DemoError):
    """A folder holds something else than what is to be drawn into it."""
