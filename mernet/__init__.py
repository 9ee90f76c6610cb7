"""MERNet: classify Pancam images of the Mars Exploration Rovers, and search the results.

    import mernet

    classifier = mernet.load_classifier("mernet.safetensors")
    classifier.classify("1p128287181eff0000p2303l2m1.img").above_threshold
    mernet.search("rtr", without="sky", rover="Spirit")

docs/python.md shows more. Importing this package loads neither torch nor any other large library.
"""

from mernet.api import (
    CheckpointNotNamedError,
    MissingLibraryError,
    Prediction,
    ProductClassifier,
    SearchRecord,
    load_classifier,
    read_product,
    render,
    search,
    to_dataframe,
)
from mernet.errors import MernetError

__all__ = [
    "CheckpointNotNamedError",
    "MernetError",
    "MissingLibraryError",
    "Prediction",
    "ProductClassifier",
    "SearchRecord",
    "__version__",
    "load_classifier",
    "read_product",
    "render",
    "search",
    "to_dataframe",
]
__version__: str


def __getattr__(name: str) -> str:
    """Return `__version__`: the metadata of the installed package is read when asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("mernet")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
