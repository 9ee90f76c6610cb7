"""What came of a task: chunks to send, and a sentence for the log and Flower."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """What was done, in a few words, and the numbers of the chunks that have to be sent now."""

    sentence: str
    to_send: Sequence[int] = ()


NOTHING_TO_DO = Result("nothing to do")
NOT_WANTED = Result("not wanted any more")
