"""Training: from labelled images to a calibrated checkpoint that records how it was trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError

from mernet.model import checkpoint
from mernet.model.backbone import Backbone, check_input_size, weights_sha256
from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import Head, Header, HeadKind
from mernet.model.errors import CheckpointError, EmptyPartError, TrainingError
from mernet.model.pictures import Picture, read_picture
from mernet.model.product_types import PRODUCT_TYPES
from mernet.model.training.calibrate import fit_platt
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.split import split_digest
from mernet.model.training.feature_cache import FeatureCache, with_variants
from mernet.model.training.finetuning.batches import prepare_images
from mernet.model.training.finetuning.finetune import fine_tune
from mernet.model.training.finetuning.recipes import Recipe
from mernet.model.training.finetuning.training_state import STATE_FILE
from mernet.model.training.fit_heads import HeadFitter, draw_labels, relative_penalty
from mernet.model.training.progress import ProgressCallback

FEATURES_FOLDER = "features"
MIXING_SEED = 1
"""Combined with the run's seed, so that labels drawn from the chain share no random numbers."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Everything that decides the result of training, except the data and the backbone.

    Attributes:
        name: Name of the classifier.
        head: Kind of head.
        recipe: How to train.
        weights: Where the backbone's weights come from, for the record.
        input_size: Width and height in pixels that pictures are resized to.
        frozen: Leave the backbone unchanged and only fit heads on its features.
        seed: Seed of everything random.
        device: Name of a torch device.
        product_types: Types of the products that the pictures show, such as EFF; empty if unknown.
    """

    name: str
    head: HeadKind
    recipe: Recipe
    weights: str
    input_size: int
    frozen: bool
    seed: int
    device: str
    product_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _TrainedModel:
    backbone: Backbone
    head: Head
    control: ChainHead


def train(
    data: DataSet,
    parts: Sequence[Part],
    backbone: Backbone,
    plan: TrainingPlan,
    *,
    out: Path,
    folder: Path,
    progress: ProgressCallback,
) -> Header:
    """Train on the train part, calibrate on the validation part, and write a checkpoint.

    The calibration uses original pictures only, no warped ones. If `out` already is the checkpoint
    of the same data, parts and plan, nothing is trained.

    Args:
        data: N labelled images.
        parts: The part of each image (N).
        backbone: The network to start from.
        plan: All other settings.
        out: Checkpoint file to write.
        folder: Folder for features and state, from which a stopped run continues.
        progress: Called after each step of each stage.

    Returns:
        The header of the checkpoint.

    Raises:
        EmptyPartError: No image is in the train or validation part.
        TrainingError: Head, names or labels do not match.
        BackboneError: The backbone does not accept pictures of the plan's size.
        DataSetError: A picture cannot be read.
        FitError: The features are not finite numbers.
        CheckpointError: The checkpoint cannot be written.
    """
    check_input_size(backbone.name, plan.input_size)
    training, validation = (_in_part(data, parts, part) for part in (Part.TRAIN, Part.VALIDATION))
    if plan.head is HeadKind.SOFTMAX and not data.is_single_label:
        raise TrainingError("a softmax head needs exactly one class per image; use a chain")
    header = _uncalibrated_header(data, parts, backbone, plan)
    existing = _existing_header(out)
    if existing is not None and _without_calibration(existing) == header:
        return existing
    run = _TrainingRun(backbone, plan, folder, progress)
    model = run.fit_heads(training) if plan.frozen else run.fine_tune(training, validation)
    header = run.calibrate(header, model, validation)
    checkpoint.save(out, header, model.backbone, model.head, model.control)
    # The state is twice as large as the network, and not needed any more.
    (folder / STATE_FILE).unlink(missing_ok=True)
    return header


@dataclass(frozen=True, slots=True)
class _TrainingRun:
    """The steps of one training, and what they share."""

    backbone: Backbone
    plan: TrainingPlan
    folder: Path
    progress: ProgressCallback

    def fit_heads(self, training: DataSet) -> _TrainedModel:
        """Fit heads to the features of the unchanged backbone."""
        recipe, variants = self.plan.recipe, self.plan.recipe.variants
        features = self._features(self.backbone, training, "Training features", variants)
        labels = np.repeat(training.labels, variants, axis=0)
        self.progress("Fitting the head", 0, 2, "")
        share = recipe.frozen_l2
        l2 = recipe.weight_decay if share is None else relative_penalty(features, share)
        fitter = HeadFitter(features, l2)
        head = self._fit_head(fitter, features, labels)
        self.progress("Fitting the control", 1, 2, "")
        return _TrainedModel(self.backbone, head, fitter.independent(labels))

    def fine_tune(self, training: DataSet, validation: DataSet) -> _TrainedModel:
        """Fine-tune the backbone together with its head."""
        plan = self.plan
        images, held_out = (
            prepare_images(self._read_pictures(part, stage), part.labels, plan.input_size)
            for part, stage in (
                (training, "Reading training images"),
                (validation, "Reading validation images"),
            )
        )
        tuned = fine_tune(
            self.backbone,
            images,
            held_out,
            plan.recipe,
            head=plan.head,
            folder=self.folder,
            seed=plan.seed,
            device=plan.device,
            progress=self.progress,
        )
        return _TrainedModel(tuned.backbone, tuned.head, tuned.control)

    def calibrate(self, header: Header, model: _TrainedModel, validation: DataSet) -> Header:
        """Return the header with the calibrations of head and control head."""
        stage = "Validation features"
        features = self._features(model.backbone, validation, stage, variants=1)
        self.progress("Calibrating", 0, 1, "")
        main, control = (
            fit_platt(head.marginals(features, header.chain), validation.labels)
            for head in (model.head, model.control)
        )
        return header.model_copy(update={"calibration": main, "control": control})

    def _features(
        self, backbone: Backbone, data: DataSet, stage: str, variants: int
    ) -> NDArray[np.float32]:
        """Return the features of each picture and its variants, in order."""
        plan, total = self.plan, len(data) * variants
        backbone.network.to(plan.device)
        cache = FeatureCache(backbone, plan.input_size, self.folder / FEATURES_FOLDER)
        originals = (read_picture(path) for path in data.paths)
        pictures = with_variants(
            originals, variants, plan.input_size, plan.seed, plan.recipe.augmentation
        )
        self.progress(stage, 0, total, "")
        features = cache.features(pictures, lambda done: self.progress(stage, done, total, ""))
        backbone.network.cpu()
        return features

    def _fit_head(
        self, fitter: HeadFitter, features: NDArray[np.float32], labels: NDArray[np.bool_]
    ) -> Head:
        if self.plan.head is HeadKind.SOFTMAX:
            return fitter.softmax(labels)
        if self.plan.head is HeadKind.INDEPENDENT:
            return fitter.independent(labels)
        chain = fitter.chain(labels)
        if self.plan.recipe.label_mixing == 0:
            return chain
        random = np.random.default_rng((self.plan.seed, MIXING_SEED))
        drawn = draw_labels(chain, features, random)
        mixed = random.random((len(labels), 1)) < self.plan.recipe.label_mixing
        return fitter.chain(labels, earlier=np.where(mixed, drawn, labels))

    def _read_pictures(self, data: DataSet, stage: str) -> Iterator[Picture]:
        for done, path in enumerate(data.paths, start=1):
            yield read_picture(path)
            self.progress(stage, done, len(data), "")


def _in_part(data: DataSet, parts: Sequence[Part], wanted: Part) -> DataSet:
    members = [index for index, part in enumerate(parts) if part is wanted]
    if not members:
        raise EmptyPartError(f"no image is in the part {wanted}; split the data set again")
    return data.subset(members)


def _uncalibrated_header(
    data: DataSet, parts: Sequence[Part], backbone: Backbone, plan: TrainingPlan
) -> Header:
    """Return the header before calibration; created first, so that errors show before training."""
    identity = Platt.identity(len(data.classes))
    try:
        return Header(
            name=plan.name,
            classes=data.classes,
            backbone=backbone.name,
            input_size=plan.input_size,
            head=plan.head,
            calibration=identity,
            control=identity,
            training=_training_record(data, parts, backbone, plan),
            data_set_hash=data.digest(),
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "header"
        raise TrainingError(f"a checkpoint cannot store {field}: {first['msg']}") from error


def _training_record(
    data: DataSet, parts: Sequence[Part], backbone: Backbone, plan: TrainingPlan
) -> dict[str, JsonValue]:
    """Return what the checkpoint records about its training."""
    record: dict[str, JsonValue] = {
        "recipe": plan.recipe.model_dump(mode="json"),
        "frozen": plan.frozen,
        "weights": plan.weights,
        "weights_sha256": weights_sha256(backbone),
        "seed": plan.seed,
        "device": plan.device,
        "torch": torch.__version__,
        "images": {str(part): sum(its is part for its in parts) for part in Part},
        "split": split_digest(data.names, parts),
    }
    if plan.product_types:
        record[PRODUCT_TYPES] = list(plan.product_types)
    return record


def _existing_header(path: Path) -> Header | None:
    """Return the header of the checkpoint at `path`, or None if no checkpoint can be read."""
    try:
        return checkpoint.read_header(path)
    except CheckpointError:
        return None


def _without_calibration(header: Header) -> Header:
    identity = Platt.identity(len(header.classes))
    return header.model_copy(update={"calibration": identity, "control": identity})
