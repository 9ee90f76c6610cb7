"""Progress of work in stages: a bar a stage in a terminal, a line a stage elsewhere."""

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


class Stages:
    """Shows each stage as it comes, on standard error; finished ones stay to be read."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}"),
            console=err,
            disable=not err.is_terminal,
        )
        self._current: tuple[str, TaskID] | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave what was shown, the last stage as complete where all went well."""
        if kind is None:
            self._finish()
        self._bars.stop()

    def report(self, title: str, done: int, total: int, remark: str) -> None:
        """Show how far a stage is; another title than the last begins a stage."""
        if self._current is None or self._current[0] != title:
            self._finish()
            if not err.is_terminal:
                note(f"{title} ...")
            self._current = title, self._bars.add_task(title, total=total, remark=remark)
        self._bars.update(self._current[1], completed=done, total=total, remark=remark)

    def _finish(self) -> None:
        if self._current is not None:
            task = self._bars.tasks[self._current[1]]
            self._bars.update(task.id, completed=task.total)
