"""How a network is fine-tuned: the abstract's recipe, and a better one."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.augmentation import Ranges


class Optimiser(StrEnum):
    """Gradient descent with momentum 0.9, or Adam with decoupled weight decay."""

    SGD = "sgd"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """How learning rates go on after the warm-up: as they are, or down to 0 along a cosine."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """Every choice of a fine-tuning but the network, its head, the seed and the device.

    Steps are counted in iterations of `batch_size` pictures. `variants` pictures are made of each
    image: the original and warped ones within `ranges`, drawn once or, with `fresh_variants`, anew
    in each epoch; `validation_variants` likewise, drawn once. `label_mixing` is the share of images
    for which the chain learns from labels that it drew itself; it grows from 0 in even steps.
    `repeat_threshold` is the share of images below which a class comes up more often, up to
    `repeat_cap` times. `patience` is how many validations may pass without a lower loss; then
    training ends. With it, the weights of the lowest loss are kept, else the last. `frozen_l2` is
    the penalty on heads that are fitted to a frozen backbone's features, as a share of the
    features' variance; without it, `weight_decay` is the penalty, as in fine-tuning.
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
    ranges: Ranges = Ranges()
    label_mixing: float = Field(default=0.0, ge=0, le=1)
    repeat_threshold: float = Field(default=0.0, ge=0, le=1)
    repeat_cap: float = Field(default=1.0, ge=1)
    validate_every: int = Field(ge=1)
    patience: int | None = Field(default=None, ge=1)
    frozen_l2: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def changed(self, **changes: Any) -> "Recipe":
        """This recipe with some fields changed; a change to None leaves a field as it is.

        A dict changes the named parts of a field. Text is read as the field's type.

        Raises TrainingError naming a field that does not exist or whose value is out of bounds.
        """
        fields = self.model_dump()
        for name, value in changes.items():
            if isinstance(value, dict) and isinstance(fields.get(name), dict):
                fields[name] |= value
            elif value is not None:
                fields[name] = value
        try:
            return Recipe(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise TrainingError(f"{field} of the recipe: {first['msg']}") from error


RECIPES: dict[str, Recipe] = {
    # Iterations, batch size, learning rates and augmented data are the abstract's. It does not name
    # the optimiser: momentum 0.9 and weight decay 5e-4 are those VGG-16 itself was trained with
    # (Simonyan and Zisserman 2015), and a last layer that learns ten times as fast goes with them.
    "paper": Recipe(
        iterations=34_995,
        batch_size=8,
        optimiser=Optimiser.SGD,
        backbone_learning_rate=1e-4,
        head_learning_rate=1e-3,
        schedule=Schedule.CONSTANT,
        weight_decay=5e-4,
        variants=31,  # of 3,004 images' 75%, the abstract makes 70,864
        validation_variants=31,
        validate_every=6_999,  # once in each of the abstract's five epochs
    ),
    "best": Recipe(
        iterations=12_000,  # 384,000 pictures, a third more than the abstract's
        batch_size=32,  # steadier gradients for classes that few images show
        optimiser=Optimiser.ADAMW,  # the transformers and ConvNeXt hardly learn with plain SGD
        backbone_learning_rate=3e-5,  # pretrained weights need to move little
        head_learning_rate=3e-4,  # starts from nothing; the abstract's ratio
        schedule=Schedule.COSINE,  # ends where noise has died down, so that any last step is good
        warm_up=500,  # a head that knows nothing yet does not upset the backbone
        weight_decay=0.05,  # customary with AdamW; a thousand images invite overfitting
        gradient_clip=5.0,  # an odd batch cannot undo what was learned
        variants=4,  # a quarter are originals, the only kind that is classified later
        fresh_variants=True,  # no warped picture comes twice, so that none is learned by heart
        validation_variants=1,  # stops by what is classified later: originals
        label_mixing=0.25,  # the chain meets its own mistakes before it is used
        repeat_threshold=0.05,  # the abstract's extreme minorities come up more often
        repeat_cap=4.0,  # and yet are not learned by heart
        validate_every=250,
        patience=12,  # a quarter of the run without a gain
        frozen_l2=0.01,  # after calibration, near the lowest log-loss on drawn and on real pictures
    ),
}
