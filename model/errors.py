"""Errors of the model room; every message names the cause and what to do."""

from mernet.errors import MernetError


class ModelError(MernetError):
    """Base class of the model room's errors."""


class BackboneError(ModelError):
    """A backbone is unknown, or its weights cannot be read or do not fit."""


class WeightsDownloadError(BackboneError):
    """The ImageNet weights of a backbone cannot be downloaded."""


class CheckpointError(ModelError):
    """A checkpoint cannot be read or written, or is not in this program's format."""


class NotACheckpoint(CheckpointError):
    """A path leads to no checkpoint file: to nothing, a folder, or a file of another kind."""


class ScoresError(ModelError):
    """A classifier computes numbers that are no probabilities."""


class RenderingError(ModelError):
    """A rendering is not an 8-bit grey picture."""


class DeviceError(ModelError):
    """The device on which a classifier computes is not available, or failed."""


class OutOfDeviceMemoryError(DeviceError):
    """Even a batch of one image does not fit the device's memory."""


class FitError(ModelError):
    """Numbers do not fit a computation: shapes differ, or values are out of range or not finite."""


class PictureError(ModelError):
    """A picture file cannot be read."""


class DataSetError(ModelError):
    """Labelled images, their labels, a split or an export cannot be read, or do not fit."""


class NoClassListError(DataSetError):
    """A label file names classes by numbers, and nothing says which classes they are."""


class TrainingError(ModelError):
    """Training cannot start or resume as requested."""


class EmptyPartError(TrainingError):
    """A part of a split that training needs has no images."""
