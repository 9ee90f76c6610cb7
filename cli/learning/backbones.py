"""Backbones as options name them: an architecture, and where its weights come from."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mernet.model.backbone import Backbone

IMAGENET, RANDOM = "imagenet", "random"


class Architecture(StrEnum):
    """Names that `--backbone` takes."""

    VGG16 = "vgg16"
    SWIN_V2_B = "swin_v2_b"
    CONVNEXT_BASE = "convnext_base"
    VIT_L_16 = "vit_l_16"


BackboneName = Annotated[Architecture, typer.Option(help="Architecture of the network.")]
Weights = Annotated[
    str,
    typer.Option(
        help=f"Its first weights: {IMAGENET} (torchvision's, downloaded once), {RANDOM}, or a file "
        "of a state dict (.pth, .safetensors).",
        metavar="TEXT|FILE",
    ),
]


def chosen_backbone(name: str, weights: str, seed: int) -> "Backbone":
    """The backbone of that name; random weights are drawn from the seed.

    Raises BackboneError where the weights cannot be had or do not fit.
    """
    from mernet.model.backbone import build_backbone

    if weights == IMAGENET:
        return build_backbone(name, imagenet=True)
    if weights == RANDOM:
        return build_backbone(name, seed=seed)
    path = Path(weights)
    if not path.is_file():
        raise typer.BadParameter(
            f"--weights {weights}: there is no such file; give one, {IMAGENET} or {RANDOM}."
        )
    return build_backbone(name, weights_path=path)
