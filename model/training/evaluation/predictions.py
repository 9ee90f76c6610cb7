"""A checkpoint's predictions: head and control, before and after calibration."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mernet.model.calibration import Platt
from mernet.model.chain import ChainSettings
from mernet.model.checkpoint import Head
from mernet.model.errors import CheckpointError
from mernet.model.pictures import Picture

if TYPE_CHECKING:
    from mernet.model.classifier import Classifier

CHUNK_SIZE = 64
"""Number of pictures in memory at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One head's probabilities (N, K) float64, before and after calibration."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]


def predict(
    classifier: "Classifier",
    pictures: Iterable[Picture],
    progress: Callable[[int], None] | None = None,
) -> tuple[Predictions, Predictions | None]:
    """Compute the predictions of a classifier's head and of its control, None if it has none.

    Args:
        classifier: The classifier.
        pictures: 8-bit grey pictures, read one by one.
        progress: Called with the number of pictures done.

    Raises:
        RenderingError: A picture is something else.
        CheckpointError: There is no picture.
    """
    iterator = iter(pictures)
    parts: list[NDArray[np.float32]] = []
    while chunk := list(islice(iterator, CHUNK_SIZE)):
        parts.append(classifier.features(chunk))
        if progress is not None:
            progress(sum(map(len, parts)))
    if not parts:
        raise CheckpointError("there is no picture to evaluate on; give a part that has some")
    features, header = np.concatenate(parts), classifier.header
    main = _predict_head(classifier.head, features, header.chain, header.calibration)
    if classifier.control is None or header.control is None:
        return main, None
    return main, _predict_head(classifier.control, features, header.chain, header.control)


def _predict_head(
    head: Head, features: NDArray[np.float32], settings: ChainSettings, calibration: Platt
) -> Predictions:
    before = head.marginals(features, settings)
    return Predictions(before, calibration.apply(before))
