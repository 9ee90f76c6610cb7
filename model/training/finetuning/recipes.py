"""Recipes of fine-tuning: the abstract's own, and a better one."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from mernet.model.errors import TrainingError


class Optimiser(StrEnum):
    """Stochastic gradient descent with momentum 0.9, or Adam with decoupled weight decay."""

    SGD = "sgd"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """The learning rates after the warm-up: constant, or falling to 0 along half a cosine."""

    CONSTANT = "constant"
    COSINE = "cosine"


class AugmentationRanges(BaseModel, frozen=True, extra="forbid"):
    """The largest change in either direction; each amount is drawn from a uniform distribution.

    The abstract gives no figures. The defaults keep the horizon roughly level and a picture
    recognisable; without cropping, the warped picture still fills at least half of the frame's
    area, three quarters on average.

    Attributes:
        rotation: Angle in degrees.
        shear: Horizontal shift per unit of height.
        skew: Relative change of the depth from the centre to an edge, along each axis.
    """

    rotation: float = Field(default=15.0, ge=0, le=180)
    shear: float = Field(default=0.15, ge=0, le=1)
    # Two axes add up: at 0.5 a corner would be infinitely far away.
    skew: float = Field(default=0.15, ge=0, lt=0.5)


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """All settings of a fine-tuning except network, head, seed and device.

    Attributes:
        iterations: Largest number of steps.
        batch_size: Pictures per step.
        optimiser: Optimiser of network and heads.
        backbone_learning_rate: Learning rate of the network.
        head_learning_rate: Learning rate of the heads.
        schedule: Course of the learning rates after the warm-up.
        warm_up: Steps in which the learning rates rise linearly from 0.
        weight_decay: Weight decay of all weights except biases and norms.
        gradient_clip: Largest norm of the gradient; None does not clip.
        variants: Pictures per training image: the original and `variants` - 1 warped ones.
        fresh_variants: Draw new warped pictures in each epoch instead of the same ones again.
        validation_variants: The same as `variants`, for validation images; drawn once.
        augmentation: Limits of the warps.
        label_mixing: Share of images for which the chain is trained on earlier labels that it drew
            itself. It is reached at the end, growing linearly from 0.
        repeat_threshold: Classes in a smaller share of images than this are shown more often.
        repeat_cap: How many times more often, at most.
        validate_every: Steps between two validations.
        patience: Validations in a row without a lower loss after which training ends; the weights
            of the lowest loss are used. None trains all iterations and uses the last weights.
        frozen_l2: L2 penalty of heads that are fitted to the features of a frozen backbone, as a
            share of the mean variance of the features. None uses `weight_decay` as penalty.
    """

    iterations: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimiser: Optimiser
    backbone_learning_rate: float = Field(ge=0, allow_inf_nan=False)
    head_learning_rate: float = Field(gt=0, allow_inf_nan=False)
    schedule: Schedule
    warm_up: int = Field(default=0, ge=0)
    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    gradient_clip: float | None = Field(default=None, gt=0)
    variants: int = Field(ge=1)
    fresh_variants: bool = False
    validation_variants: int = Field(default=1, ge=1)
    augmentation: AugmentationRanges = AugmentationRanges()
    label_mixing: float = Field(default=0.0, ge=0, le=1)
    repeat_threshold: float = Field(default=0.0, ge=0, le=1)
    repeat_cap: float = Field(default=1.0, ge=1)
    validate_every: int = Field(ge=1)
    patience: int | None = Field(default=None, ge=1)
    frozen_l2: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def changed(self, **changes: Any) -> "Recipe":
        """Return a copy with some fields changed; a change to None leaves a field unchanged.

        Args:
            changes: New values by field. A dict changes the named parts of a field. Text is
                converted to the field's type.

        Raises:
            TrainingError: A field does not exist or its value is out of range.
        """
        fields = self.model_dump()
        for name, value in changes.items():
            if name not in fields:
                known = ", ".join(fields)
                raise TrainingError(f"a recipe has no field {name}; its fields are {known}")
            if isinstance(value, dict) and isinstance(fields[name], dict):
                fields[name] |= value
            elif value is not None:
                fields[name] = value
        try:
            return Recipe(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise TrainingError(f"recipe field {field}: {first['msg']}") from error


class RecipeName(StrEnum):
    """Names of the recipes."""

    PAPER = "paper"
    BEST = "best"


RECIPES: dict[str, Recipe] = {
    # Iterations, batch size, learning rates and augmentation are the abstract's. It does not name
    # the optimiser: momentum 0.9, weight decay 5e-4 and a last layer with ten times the learning
    # rate are those that VGG-16 itself was trained with (Simonyan and Zisserman 2015).
    RecipeName.PAPER: Recipe(
        iterations=34_995,
        batch_size=8,
        optimiser=Optimiser.SGD,
        backbone_learning_rate=1e-4,
        head_learning_rate=1e-3,
        schedule=Schedule.CONSTANT,
        weight_decay=5e-4,
        variants=31,  # the abstract creates 70,864 pictures from 75% of 3,004 images
        validation_variants=31,
        validate_every=6_999,  # once in each of the abstract's five epochs
    ),
    RecipeName.BEST: Recipe(
        iterations=12_000,  # 384,000 pictures, a third more than the abstract's
        batch_size=32,  # less noisy gradients for rare classes
        optimiser=Optimiser.ADAMW,  # transformers and ConvNeXt train poorly with plain SGD
        backbone_learning_rate=3e-5,  # pretrained weights need only small changes
        head_learning_rate=3e-4,  # starts from zero; the abstract's ratio
        schedule=Schedule.COSINE,  # ends with small steps, so that the last weights are good
        warm_up=500,  # gradients of an untrained head do not disturb the backbone
        weight_decay=0.05,  # usual with AdamW; a few thousand images overfit easily
        gradient_clip=5.0,  # one unusual batch cannot undo earlier steps
        variants=4,  # a quarter are originals, the only kind that is classified later
        fresh_variants=True,  # no warped picture is shown twice, against overfitting
        validation_variants=1,  # validates on what is classified later: originals
        label_mixing=0.25,  # trains the chain on its own mistakes too
        repeat_threshold=0.05,  # shows the abstract's extreme minorities more often
        repeat_cap=4.0,  # limits overfitting to them
        validate_every=250,
        patience=12,  # a quarter of the run without a lower loss
        frozen_l2=0.01,  # near the lowest log-loss after calibration, on drawn and real pictures
    ),
}
