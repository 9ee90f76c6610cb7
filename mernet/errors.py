"""The base of every error that this package raises on purpose."""


class MernetError(Exception):
    """Base of all rooms' errors. The message is one sentence for the user."""
