"""What can go wrong in the model room; every message says what to do."""

from mernet.errors import MernetError


class ModelError(MernetError):
    """Base of this room's errors."""


class BackboneError(ModelError):
    """A backbone is unknown, or the weights given for it do not fit."""


class CheckpointError(ModelError):
    """A checkpoint file cannot be read, or is not one of this format."""


class RenderingError(ModelError):
    """Something given to the classifier is not an 8-bit grey picture."""


class OutOfDeviceMemoryError(ModelError):
    """Even a batch of one image does not fit the device."""


class FitError(ModelError):
    """Features and labels do not belong together."""


class DataSetError(ModelError):
    """Labelled images, their labels, a split or an export cannot be read as they are."""


class TrainingError(ModelError):
    """Training cannot start, go on, or be resumed as asked."""
