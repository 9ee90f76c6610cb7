"""The images that `mernet evaluate` takes of a data set."""

from enum import StrEnum

from mernet.model.training.data.data_set import Part


class EvaluationSplit(StrEnum):
    """The images to evaluate on: one part of the split, or all."""

    TRAIN = Part.TRAIN.value
    VALIDATION = Part.VALIDATION.value
    TEST = Part.TEST.value
    ALL = "all"
