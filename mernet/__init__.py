"""MERNet: classify Pancam images of the Mars Exploration Rovers, and search the results.

    import mernet

    classifier = mernet.load_classifier("mernet.safetensors")
    classifier.classify("1p128287181eff0000p2303l2m1.img").above_threshold
    mernet.search("rtr", without="sky", rover="Spirit")

docs/python.md shows more. Importing this package loads neither torch nor any other large library.
"""

from mernet.errors import MernetError

TYPE_CHECKING = False  # as in `typing`, whose import is most of what `import mernet` would take
if TYPE_CHECKING:
    from typing import Any

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


def __getattr__(name: str) -> "Any":
    """Load what a name of the interface needs when it is first used: the command starts faster."""
    if name == "__version__":
        # Imported here, like the next one, because most commands need neither and start faster.
        from importlib.metadata import version

        return version("mernet")
    if name in __all__:
        from mernet import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
