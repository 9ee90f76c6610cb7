"""What can go wrong in the demo room; every message says what to do."""


class DemoError(Exception):
    """Base of this room's errors."""


class ServiceError(DemoError):
    """An embedded server did not start or stop."""
