"""The result of a task: a summary for the log and Flower, and the chunks to send next."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task did, in a few words, and the numbers of the chunks that must now be sent."""

    summary: str
    chunks_to_send: Sequence[int] = ()


NOTHING_TO_DO = TaskResult("nothing to do: done, ended, paused, or claimed by another worker")
STOPPED = TaskResult("stopped: the run has ended, or another worker has claimed the work")
