"""The type of the progress callback of all training steps."""

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int, str], None]
"""Called with (stage, steps done, total steps, remark), such as ("Fine-tuning", 3, 12, "loss 0.4").

A stage's first call may have 0 steps done; the remark may be empty.
"""
