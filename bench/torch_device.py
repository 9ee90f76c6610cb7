"""The device that torch is measured on: the first GPU, or the CPU of a machine without one."""

import torch

from bench.recording import cpu_name, library_versions, peak_process_memory

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """Return the GPU's name, or the processor's kind and number of cores."""
    return torch.cuda.get_device_name() if DEVICE == "cuda" else cpu_name()


def peak_memory() -> int:
    """Return the most bytes used so far: of the GPU's memory, or by this process on a CPU."""
    return torch.cuda.max_memory_allocated() if DEVICE == "cuda" else peak_process_memory()


def torch_versions() -> dict[str, str]:
    """Return the versions of torch, with its build (such as +cpu), and of torchvision."""
    return {"torch": torch.__version__, **library_versions("torchvision")}
