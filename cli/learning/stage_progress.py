"""Progress of work in stages: one bar per stage on a terminal, one line per stage elsewhere."""

from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mernet.cli.shared.output import err, note


class StageProgress:
    """Shows the progress of each stage on standard error; finished stages stay visible."""

    def __init__(self) -> None:
        """Create a display; it is shown from the beginning to the end of the `with` block."""
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}", markup=False),
            console=err,
            disable=not err.is_terminal,
        )
        self._current: tuple[str, TaskID] | None = None

    def __enter__(self) -> Self:
        """Show the display."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the display; the last stage is shown as complete unless an error ended it."""
        if kind is None:
            self._complete_current()
        self._bars.stop()

    def report(self, stage: str, done: int, total: int, remark: str) -> None:
        """Show the progress of a stage; a new name begins a new stage. A `ProgressCallback`."""
        if self._current is None or self._current[0] != stage:
            self._complete_current()
            if not err.is_terminal:
                note(f"{stage} ...")
            self._current = stage, self._bars.add_task(stage, total=total, remark=remark)
        self._bars.update(self._current[1], completed=done, total=total, remark=remark)

    def _complete_current(self) -> None:
        if self._current is not None:
            task = self._bars.tasks[self._current[1]]
            self._bars.update(task.id, completed=task.total)
