"""The demo's checkpoint: random features, and a chain and its calibration fitted on drawn scenes.

It shows that the service works; it has learned nothing about pictures of Mars.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mernet.demo.archive import FORMAT_VERSION
from mernet.demo.camera import rendering_of
from mernet.demo.parallel import CountCallback, map_in_processes
from mernet.demo.scenes import Scene, sample_scenes
from mernet.model.backbone import Backbone, build_backbone, extract_features, restore_backbone
from mernet.model.chain import ChainSettings
from mernet.model.checkpoint import Header, read_header, save
from mernet.model.classes import CODES
from mernet.model.errors import CheckpointError
from mernet.model.training.calibrate import fit_platt
from mernet.model.training.fit_heads import HeadFitter, relative_penalty
from mernet.worker.checkpoints import DEMO_CLASSIFIER

BACKBONE, BACKBONE_SEED, INPUT_SIZE = "vgg16", 7, 128
FITTED, CALIBRATED = 600, 250
DRAWN_SIZE = 256
"""Half the archive's size, for speed: the network sees 128 x 128 pixels in either case."""
SCENES_PER_BATCH = 50
PENALTY = 0.1


def create_checkpoint(path: Path, seed: int = 1, on_progress: CountCallback | None = None) -> None:
    """Write the checkpoint, unless the same one exists at that path already.

    The chain is fitted on some scenes and its calibration on others. All of them differ from the
    archive's scenes, for any seed.

    Args:
        path: The checkpoint's path.
        seed: Another seed gives other scenes.
        on_progress: Called with (scenes processed, all scenes).
    """
    record = training_record(seed)
    if _is_written(path, record):
        return
    backbone = _rounded(build_backbone(BACKBONE, seed=BACKBONE_SEED))
    scenes = training_scenes(seed)
    labels = np.array([[code in scene.labels for code in CODES] for scene in scenes])
    digest = hashlib.sha256(labels.tobytes())
    features = _extract_features(backbone, scenes, digest, on_progress)
    fitted = features[:FITTED]
    chain = HeadFitter(fitted, relative_penalty(fitted, PENALTY)).chain(labels[:FITTED])
    marginals = chain.marginals(features[FITTED:], ChainSettings())
    header = Header(
        name=DEMO_CLASSIFIER,
        backbone=BACKBONE,
        input_size=INPUT_SIZE,
        calibration=fit_platt(marginals, labels[FITTED:]),
        training=record,
        data_set_hash=digest.hexdigest(),
    )
    save(path, header, backbone, chain, storage="float16")


def training_scenes(seed: int) -> list[Scene]:
    """Return the scenes: the first FITTED for the chain, the others for its calibration."""
    fitted = sample_scenes("chain", seed, FITTED)
    return fitted + sample_scenes("calibration", seed, CALIBRATED)


def training_record(seed: int) -> dict[str, str | int | float]:
    """Return the checkpoint's record of how it was created."""
    return {
        "data": "drawn scenes only, no picture of Mars",
        "drawings": FORMAT_VERSION,
        "features": f"random weights of seed {BACKBONE_SEED}, rounded to float16, not trained",
        "seed": seed,
        "scenes_for_chain": FITTED,
        "scenes_for_calibration": CALIBRATED,
        "drawn_size": DRAWN_SIZE,
        "penalty": PENALTY,
    }


def _is_written(path: Path, record: dict[str, str | int | float]) -> bool:
    try:
        return read_header(path).training == record
    except CheckpointError:
        return False


def _rounded(backbone: Backbone) -> Backbone:
    """Return the backbone as a file that stores float16 gives it back, so that features agree."""
    tensors = {key: value.half() for key, value in backbone.network.state_dict().items()}
    return restore_backbone(backbone.name, tensors)


def _extract_features(
    backbone: Backbone,
    scenes: Sequence[Scene],
    digest: "hashlib._Hash",
    on_progress: CountCallback | None,
) -> NDArray[np.float32]:
    """Return features (N, F) of the scenes' renderings, and add the renderings to the digest."""
    torch.set_num_threads(os.cpu_count() or 1)
    parts = []
    for renderings in _batches_of_renderings(scenes):
        for rendering in renderings:
            digest.update(rendering.tobytes())
        parts.append(extract_features(backbone, renderings, INPUT_SIZE))
        if on_progress is not None:
            on_progress(sum(map(len, parts)), len(scenes))
    return np.concatenate(parts)


def _batches_of_renderings(scenes: Sequence[Scene]) -> Iterator[list[NDArray[np.uint8]]]:
    renderings = map_in_processes(partial(rendering_of, size=DRAWN_SIZE), scenes)
    while batch := list(islice(renderings, SCENES_PER_BATCH)):
        yield batch
