"""Makes Python's clocks wrong."""

import datetime
import os
import time
from pathlib import Path

right_time, RightDatetime = time.time, datetime.datetime


def shift(seconds: float) -> None:
    """Set the clocks forward by `seconds`, before any other module has taken a function of them."""

    class AnyDatetime(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, RightDatetime)

    class WrongDatetime(RightDatetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return RightDatetime.now(tz) + datetime.timedelta(seconds=seconds)

        @classmethod
        def utcnow(cls) -> datetime.datetime:
            return RightDatetime.utcnow() + datetime.timedelta(seconds=seconds)

    time.time = lambda: right_time() + seconds
    datetime.datetime = WrongDatetime
    if "FAULTS_CLOCKS" in os.environ:
        Path(os.environ["FAULTS_CLOCKS"]).write_text(f"{time.time()} {right_time()}")
