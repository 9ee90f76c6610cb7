"""Faults of the device on which a classifier computes, told apart from defects of the program."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mernet.model.errors import DeviceError
from mernet.printable import printable

# torch raises RuntimeError for all of them, and a subclass in some versions only.
DEVICE_FAULT = re.compile(
    r"\bcuda|cublas|cudnn|cufft|cusolver|cusparse|nccl|nvml|nvrtc|nvidia|\bhip\b|hip error|"
    r"device-side assert|launch failure|launch timed out|illegal (memory|address|instruction)|"
    r"uncorrectable ecc|fallen off the bus|fell off the bus|device is (lost|busy|unavailable)",
    re.IGNORECASE,
)
DEVICE_OUT_OF_MEMORY = re.compile(r"out of memory|_ALLOC_FAILED", re.IGNORECASE)


def is_device_fault(error: BaseException) -> bool:
    """Return whether an error says that the device failed, and not the program or its input."""
    if isinstance(error, DeviceError):
        return True
    return isinstance(error, RuntimeError) and DEVICE_FAULT.search(str(error)) is not None


def is_out_of_device_memory(error: RuntimeError) -> bool:
    """Return whether an error says that the device has too little memory for a batch."""
    return is_device_fault(error) and DEVICE_OUT_OF_MEMORY.search(str(error)) is not None


@contextmanager
def device_faults() -> Iterator[None]:
    """Raise `DeviceError` for a fault of the device in the block."""
    try:
        yield
    except RuntimeError as error:
        if not is_device_fault(error):
            raise
        raise DeviceError(
            f"the device failed ({printable(str(error).strip().partition(chr(10))[0])}); start the "
            "program again, and check the device with nvidia-smi"
        ) from error
