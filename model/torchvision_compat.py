"""Imports torchvision's models even if torchvision's compiled operators cannot be loaded.

torchvision from PyPI is a CUDA build. Next to a CPU build of torch, its extension `_C` does not
load and `import torchvision` fails with `operator torchvision::nms does not exist`: the package
registers a meta kernel for `nms` and `qnms` without checking that the operators exist
(torchvision 0.28, `_meta_registrations.py`). Once their schemas are defined, the import
succeeds; the networks in `torchvision.models` use neither operator.
"""

from importlib import import_module, util
from importlib.machinery import PathFinder
from types import ModuleType

import torch

_SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")

# torch drops the schemas when the library object that defined them is garbage-collected.
_libraries: list[torch.library.Library] = []


def import_torchvision_models() -> ModuleType:
    """Return `torchvision.models`, with or without torchvision's compiled operators.

    Raises:
        ImportError: torchvision is not installed.
    """
    _load_extension()
    missing = [name for name in _OPERATORS if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        _libraries.append(library)
        for name in missing:
            library.define(_SCHEMA.format(name))  # type: ignore[no-untyped-call]
    return import_module("torchvision.models")


def _load_extension() -> None:
    """Load torchvision's extension, if it loads, so that it defines its operators.

    It must come first, since a schema can be defined only once.
    """
    package = util.find_spec("torchvision")
    if package is None:
        raise ImportError("torchvision is not installed; install it with pip")
    extension = PathFinder.find_spec("_C", package.submodule_search_locations)
    if extension is None or extension.origin is None:
        return
    try:
        torch.ops.load_library(extension.origin)  # type: ignore[no-untyped-call]
    except OSError:
        return  # built against another torch: the case that this module handles
