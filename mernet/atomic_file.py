"""Files that are written completely or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to, which then replaces the file at `path`.

    The yielded path lies in the same folder, which is created if it does not exist. If the block
    raises an exception, the file at `path` stays as it was and what was written is deleted. Several
    writers of the same file do not disturb each other: the last one to finish wins. A process that
    is killed leaves its unfinished file, `NAME.RANDOM.part`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
