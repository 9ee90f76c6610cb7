"""Makes the demo's checkpoint on the spot: random features, a chain and its calibration fitted.

It knows drawn scenes only. It shows that the whole way works, and nothing about pictures of Mars.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mernet.demo.archive import FORMAT_VERSION
from mernet.demo.frames import rendering_of
from mernet.demo.processes import mapped
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
"""Drawn at half the archive's size, for speed: the network sees 128 pixels of either."""
CHUNK = 50
PENALTY = 0.1

Progress = Callable[[int, int], None]


def make_checkpoint(path: Path, seed: int = 1, progress: Progress | None = None) -> None:
    """Draw scenes, fit a chain on some and its calibration on others, and write the checkpoint.

    The scenes are others than the archive's of any seed. Where the path holds the same checkpoint,
    nothing is done. `progress` gets (scenes learned from, scenes in all).
    """
    record = training_record(seed)
    if _is_made(path, record):
        return
    backbone = _rounded(build_backbone(BACKBONE, seed=BACKBONE_SEED))
    scenes = training_scenes(seed)
    labels = np.array([[code in scene.labels for code in CODES] for scene in scenes])
    digest = hashlib.sha256(labels.tobytes())
    features = _features(backbone, scenes, digest, progress)
    learned = features[:FITTED]
    chain = HeadFitter(learned, relative_penalty(learned, PENALTY)).chain(labels[:FITTED])
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
    """The scenes to learn from: the first FITTED for the chain, the others for its calibration."""
    fitted = sample_scenes("chain", seed, FITTED)
    return fitted + sample_scenes("calibration", seed, CALIBRATED)


def training_record(seed: int) -> dict[str, str | int | float]:
    """What the checkpoint says about how it was made."""
    return {
        "data": "drawn scenes only; no picture of Mars was seen",
        "drawings": FORMAT_VERSION,
        "features": f"random weights of seed {BACKBONE_SEED}, rounded to float16, not trained",
        "seed": seed,
        "scenes_for_chain": FITTED,
        "scenes_for_calibration": CALIBRATED,
        "drawn_size": DRAWN_SIZE,
        "penalty": PENALTY,
    }


def _is_made(path: Path, record: dict[str, str | int | float]) -> bool:
    try:
        return read_header(path).training == record
    except CheckpointError:
        return False


def _rounded(backbone: Backbone) -> Backbone:
    """The backbone as it comes back from a file that stores float16, so that features agree."""
    tensors = {key: value.half() for key, value in backbone.network.state_dict().items()}
    return restore_backbone(backbone.name, tensors)


def _features(
    backbone: Backbone,
    scenes: Sequence[Scene],
    digest: "hashlib._Hash",
    progress: Progress | None,
) -> NDArray[np.float32]:
    """Features (N, F) of the scenes' renderings, which go into the digest; other processes draw."""
    torch.set_num_threads(os.cpu_count() or 1)
    parts = []
    for renderings in _chunks(scenes):
        for rendering in renderings:
            digest.update(rendering.tobytes())
        parts.append(extract_features(backbone, renderings, INPUT_SIZE))
        if progress is not None:
            progress(sum(map(len, parts)), len(scenes))
    return np.concatenate(parts)


def _chunks(scenes: Sequence[Scene]) -> Iterator[list[NDArray[np.uint8]]]:
    renderings = mapped(partial(rendering_of, size=DRAWN_SIZE), scenes)
    while chunk := list(islice(renderings, CHUNK)):
        yield chunk
