"""A fine-tuning job: everything that decides its result, checked, and its fingerprint."""

from dataclasses import dataclass

import torch

from mernet.model.backbone import Backbone, check_input_size, weights_sha256
from mernet.model.checkpoint import HeadKind
from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.batches import LabelledImages
from mernet.model.training.finetuning.recipes import Recipe

Fingerprint = dict[str, str]
"""A job as text by name; large parts by their SHA-256. Jobs with equal fingerprints end equally."""


@dataclass(frozen=True, slots=True, eq=False)
class FineTuningJob:
    """A network, a kind of head, images for training and for validation, and how to train.

    `mixed_precision` lets the network compute in bfloat16.

    Raises:
        TrainingError: Images, labels, head or seed do not match.
        BackboneError: The network does not accept pictures of this size.
    """

    backbone: Backbone
    images: LabelledImages
    validation: LabelledImages
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
            training, validation = getattr(self.images, name), getattr(self.validation, name)
            if training != validation:
                raise TrainingError(
                    f"training pictures have {name} {training}, validation pictures {validation}; "
                    "prepare both in the same way"
                )
        if self.head is HeadKind.SOFTMAX:
            for part in (self.images, self.validation):
                if not (part.labels.sum(dim=1) == 1).all():
                    raise TrainingError(
                        "a softmax head needs exactly one class per image; use a chain for these "
                        "labels"
                    )

    def fingerprint(self) -> Fingerprint:
        """Return everything that decides the result, as text by name."""
        recipe = self.recipe.model_dump(mode="json")
        return {name: str(value) for name, value in recipe.items()} | {
            "weights": weights_sha256(self.backbone),
            "images": self.images.digest(),
            "validation": self.validation.digest(),
            "head": str(self.head),
            "seed": str(self.seed),
            "device": self.device.type,
            "mixed_precision": str(self.mixed_precision),
        }
