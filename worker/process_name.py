"""A name for this process that no other process has, now or later, on any host."""

import os
import socket
from uuid import uuid4


def process_name(subject: str) -> str:
    """Return the process as people find it, and letters that occur once.

    Args:
        subject: What the process does, such as a task's id.
    """
    return f"{subject} on {socket.gethostname()}, process {os.getpid()}, {uuid4().hex[:8]}"
