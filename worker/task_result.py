"""The result of a task: a summary for the log and Flower."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task did, in a few words."""

    summary: str


NOTHING_TO_DO = TaskResult("nothing to do: done, ended, paused, waiting, or claimed by another")
STOPPED = TaskResult("stopped: the run has ended, or another worker has claimed the work")
