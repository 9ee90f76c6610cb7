"""What a checkpoint says of labelled images: head and control, before and after calibration."""

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
from mernet.model.training.data.picture_files import Picture
from mernet.model.training.evaluation.metrics import Probabilities

if TYPE_CHECKING:
    from mernet.model.classifier import Classifier

PIECE = 64
"""Pictures held in memory at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One head's probabilities (N, K) float64, before and after calibration."""

    before: Probabilities
    after: Probabilities


def predict(
    classifier: "Classifier",
    pictures: Iterable[Picture],
    progress: Callable[[int], None] | None = None,
) -> tuple[Predictions, Predictions | None]:
    """Predictions of the classifier's head and of its control, None where it has none.

    `pictures` are 8-bit grey, read one by one; `progress` gets the number done. Raises
    RenderingError for one that is something else.
    """
    iterator = iter(pictures)
    parts: list[NDArray[np.float32]] = []
    while piece := list(islice(iterator, PIECE)):
        parts.append(classifier.features(piece))
        if progress is not None:
            progress(sum(map(len, parts)))
    if not parts:
        raise CheckpointError("there is no picture to judge by; give a part that has some")
    features, header = np.concatenate(parts), classifier.header
    main = _predictions(classifier.head, features, header.chain, header.calibration)
    if classifier.control is None or header.control is None:
        return main, None
    return main, _predictions(classifier.control, features, header.chain, header.control)


def _predictions(
    head: Head, features: NDArray[np.float32], settings: ChainSettings, calibration: Platt
) -> Predictions:
    before = head.marginals(features, settings)
    return Predictions(before, calibration.apply(before))
