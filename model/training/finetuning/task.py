"""What a fine-tuning is to do: everything that decides its result, checked and named."""

from dataclasses import dataclass

import torch

from mernet.model.backbone import Backbone, check_input_size
from mernet.model.checkpoint import HeadKind
from mernet.model.errors import TrainingError
from mernet.model.training.features import weights_hash
from mernet.model.training.finetuning.batches import Images
from mernet.model.training.finetuning.recipes import Recipe

Settings = dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A network, a kind of head, the pictures to learn from and those to validate on, and how.

    Raises TrainingError where these do not belong together, BackboneError where the network does
    not take pictures of this size.
    """

    backbone: Backbone
    images: Images
    validation: Images
    recipe: Recipe
    head: HeadKind
    seed: int
    device: torch.device
    mixed_precision: bool

    def __post_init__(self) -> None:
        check_input_size(self.backbone.name, self.images.size)
        if self.seed < 0:
            raise TrainingError(f"the seed must be 0 or more, not {self.seed}")
        for name in ("size", "classes"):
            ours, theirs = getattr(self.images, name), getattr(self.validation, name)
            if ours != theirs:
                raise TrainingError(
                    f"training pictures have {name} {ours}, validation pictures {theirs}; prepare "
                    "both alike"
                )
        if self.head is HeadKind.SOFTMAX:
            for part in (self.images, self.validation):
                if not (part.labels.sum(dim=1) == 1).all():
                    raise TrainingError(
                        "a softmax head needs exactly one class an image; use a chain for these "
                        "labels"
                    )

    def settings(self) -> Settings:
        """The whole task as text by name, big things by their SHA-256: equal tasks end equally."""
        recipe = self.recipe.model_dump(mode="json")
        return {name: str(value) for name, value in recipe.items()} | {
            "weights": weights_hash(self.backbone),
            "images": self.images.digest(),
            "validation": self.validation.digest(),
            "head": str(self.head),
            "seed": str(self.seed),
            "device": self.device.type,
            "mixed_precision": str(self.mixed_precision),
        }
