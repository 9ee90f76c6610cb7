"""Backbones: the options that choose one, and the code that loads it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mernet.model.architecture_name import ArchitectureName

if TYPE_CHECKING:
    from mernet.model.backbone import Backbone

IMAGENET, RANDOM = "imagenet", "random"

BackboneName = Annotated[
    ArchitectureName, typer.Option("--backbone", help="Architecture of the network.")
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="TEXT|FILE",
        help=f"Initial weights: {IMAGENET} (torchvision's, downloaded once), {RANDOM}, or a file "
        "with a state dict (.pth, .safetensors).",
    ),
]


def load_backbone(name: ArchitectureName, weights: str, seed: int) -> "Backbone":
    """Load the backbone that `--backbone` and `--weights` choose.

    Args:
        name: Its architecture.
        weights: `IMAGENET`, `RANDOM` or the path of a file.
        seed: Seed of random weights.

    Raises:
        BackboneError: The weights cannot be downloaded or read, or do not fit.
    """
    from mernet.model.backbone import build_backbone  # torch: --help starts fast without it

    if weights == IMAGENET:
        return build_backbone(name, imagenet=True)
    if weights == RANDOM:
        return build_backbone(name, seed=seed)
    path = Path(weights)
    if not path.is_file():
        raise typer.BadParameter(
            f"--weights {weights}: the file does not exist; give a file, {IMAGENET} or {RANDOM}."
        )
    return build_backbone(name, weights_path=path)
