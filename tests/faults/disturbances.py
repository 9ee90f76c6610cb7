"""Everything that is broken on purpose, by name."""

from faults import archive_kinds, process_kinds, server_kinds
from faults.kinds import ALL, Disturbance, NoEffect, Strikes

__all__ = [
    "ALL",
    "Disturbance",
    "NoEffect",
    "Strikes",
    "archive_kinds",
    "process_kinds",
    "server_kinds",
]
