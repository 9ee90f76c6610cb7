"""From labelled images to a checkpoint: features, heads, calibration, and a record of it all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError

from mernet.model import checkpoint
from mernet.model.backbone import Backbone, check_input_size
from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import Head, Header, HeadKind
from mernet.model.errors import CheckpointError, TrainingError
from mernet.model.training.calibrate import fit_platt
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.picture_files import Picture, read_picture
from mernet.model.training.data.split import split_digest
from mernet.model.training.features import FeatureCache, weights_hash, with_variants
from mernet.model.training.finetuning.batches import prepare_images
from mernet.model.training.finetuning.finetune import fine_tune
from mernet.model.training.finetuning.recipes import Recipe
from mernet.model.training.finetuning.resume import STATE_FILE
from mernet.model.training.fit_heads import HeadFit, draw_labels, relative_penalty

FEATURES_FOLDER = "features"
MIXED_SEED = 1
"""Beside the run's seed, so that labels drawn from the chain share no randomness with others."""

Report = Callable[[str, int, int, str], None]
"""Gets (what is being done, steps done, steps in all, a remark such as the losses)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides what is learned, but the data.

    `frozen`: the backbone stays as it is and only heads are fitted, on features that are kept.
    `weights` says where the backbone's weights came from, for the record. `device`: cpu, cuda.
    """

    name: str
    head: HeadKind
    recipe: Recipe
    weights: str
    input_size: int
    frozen: bool
    seed: int
    device: str


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    backbone: Backbone
    head: Head
    control: ChainHead


def learn(
    data: DataSet,
    parts: Sequence[Part],
    backbone: Backbone,
    plan: Plan,
    *,
    out: Path,
    folder: Path,
    report: Report,
) -> Header:
    """Learn from the train part, calibrate on the originals of the validation part, write `out`.

    `parts` holds one part for each of the N images. `folder` keeps what a stopped run goes on from.
    Where `out` is the checkpoint of the same data, parts and plan, nothing is done.

    Raises TrainingError where a part is empty or head, names or labels do not go together,
    BackboneError where the backbone does not take pictures of the plan's size, DataSetError where a
    picture cannot be read, FitError where its features are no numbers, CheckpointError where the
    checkpoint cannot be written.
    """
    check_input_size(backbone.name, plan.input_size)
    train, validation = (_part(data, parts, part) for part in (Part.TRAIN, Part.VALIDATION))
    if plan.head is HeadKind.SOFTMAX and not data.is_single_label:
        raise TrainingError("a softmax head needs exactly one class an image; take --head chain")
    header = _header(data, parts, backbone, plan)
    made = _header_of(out)
    if made is not None and _without_calibration(made) == _without_calibration(header):
        return made
    work = _Work(backbone, plan, folder, report)
    learned = work.fit_heads(train) if plan.frozen else work.tune(train, validation)
    header = work.calibrated(header, learned, validation)
    checkpoint.save(out, header, learned.backbone, learned.head, learned.control)
    (folder / STATE_FILE).unlink(missing_ok=True)  # twice a network's size, and done with
    return header


@dataclass(frozen=True, slots=True)
class _Work:
    """One run of learning: what all its steps share."""

    backbone: Backbone
    plan: Plan
    folder: Path
    report: Report

    def fit_heads(self, train: DataSet) -> _Learned:
        """Fit heads to features of the backbone as it is."""
        recipe, variants = self.plan.recipe, self.plan.recipe.variants
        features = self._features(self.backbone, train, "Features to learn from", variants)
        labels = np.repeat(train.labels, variants, axis=0)
        self.report("Fitting the head", 0, 2, "")
        share = recipe.frozen_l2
        l2 = recipe.weight_decay if share is None else relative_penalty(features, share)
        fit = HeadFit(features, l2)
        head = self._fitted(fit, features, labels)
        self.report("Fitting the control", 1, 2, "")
        return _Learned(self.backbone, head, fit.independent(labels))

    def tune(self, train: DataSet, validation: DataSet) -> _Learned:
        """Fine-tune the backbone together with its head."""
        plan = self.plan
        images, held_out = (
            prepare_images(self._pictures(part, name), part.labels, plan.input_size)
            for part, name in ((train, "Reading to learn"), (validation, "Reading to validate"))
        )

        def progress(step: int, steps: int, losses: tuple[float, float]) -> None:
            self.report("Fine-tuning", step, steps, f"loss {losses[0]:.3f}")

        tuned = fine_tune(
            self.backbone,
            images,
            held_out,
            plan.recipe,
            head=plan.head,
            folder=self.folder,
            seed=plan.seed,
            device=plan.device,
            progress=progress,
        )
        return _Learned(tuned.backbone, tuned.head, tuned.control)

    def calibrated(self, header: Header, learned: _Learned, validation: DataSet) -> Header:
        """The header with the calibrations of head and control."""
        title = "Features to calibrate on"
        features = self._features(learned.backbone, validation, title, variants=1)
        self.report("Calibrating", 0, 1, "")
        main, control = (
            fit_platt(head.marginals(features, header.chain), validation.labels)
            for head in (learned.head, learned.control)
        )
        return header.model_copy(update={"calibration": main, "control": control})

    def _features(
        self, backbone: Backbone, data: DataSet, title: str, variants: int
    ) -> NDArray[np.float32]:
        """Features of every picture and its variants, in order."""
        plan, total = self.plan, len(data) * variants
        backbone.network.to(plan.device)
        cache = FeatureCache(backbone, plan.input_size, self.folder / FEATURES_FOLDER)
        originals = (read_picture(path) for path in data.paths)
        pictures = with_variants(
            originals, variants, plan.input_size, plan.seed, plan.recipe.ranges
        )
        self.report(title, 0, total, "")
        found = cache.features(pictures, lambda done: self.report(title, done, total, ""))
        backbone.network.cpu()
        return found

    def _fitted(
        self, fit: HeadFit, features: NDArray[np.float32], labels: NDArray[np.bool_]
    ) -> Head:
        if self.plan.head is HeadKind.SOFTMAX:
            return fit.softmax(labels)
        if self.plan.head is HeadKind.INDEPENDENT:
            return fit.independent(labels)
        chain = fit.chain(labels)
        if self.plan.recipe.label_mixing == 0:
            return chain
        random = np.random.default_rng((self.plan.seed, MIXED_SEED))
        drawn = draw_labels(chain, features, random)
        mixed = random.random((len(labels), 1)) < self.plan.recipe.label_mixing
        return fit.chain(labels, earlier=np.where(mixed, drawn, labels))

    def _pictures(self, data: DataSet, title: str) -> Iterator[Picture]:
        for done, path in enumerate(data.paths, start=1):
            yield read_picture(path)
            self.report(title, done, len(data), "")


def _part(data: DataSet, parts: Sequence[Part], part: Part) -> DataSet:
    members = [place for place, its in enumerate(parts) if its is part]
    if not members:
        raise TrainingError(f"no image is for {part}; split the data set with `mernet data split`")
    return data.subset(members)


def _header(data: DataSet, parts: Sequence[Part], backbone: Backbone, plan: Plan) -> Header:
    """The header but for its calibrations; made first, so that nothing is learned in vain."""
    nothing = Platt.identity(len(data.classes))
    try:
        return Header(
            name=plan.name,
            classes=data.classes,
            backbone=backbone.name,
            input_size=plan.input_size,
            head=plan.head,
            calibration=nothing,
            control=nothing,
            training=_record(data, parts, backbone, plan),
            data_set_hash=data.digest(),
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "header"
        raise TrainingError(f"no checkpoint can say so: {field}: {first['msg']}") from error


def _record(
    data: DataSet, parts: Sequence[Part], backbone: Backbone, plan: Plan
) -> dict[str, JsonValue]:
    """What the checkpoint says about how it was made."""
    return {
        "recipe": plan.recipe.model_dump(mode="json"),
        "frozen": plan.frozen,
        "weights": plan.weights,
        "weights_sha256": weights_hash(backbone),
        "seed": plan.seed,
        "device": plan.device,
        "torch": torch.__version__,
        "images": {str(part): sum(its is part for its in parts) for part in Part},
        "split": split_digest(data.names, parts),
    }


def _header_of(path: Path) -> Header | None:
    """The header of the checkpoint that is there; None where there is none."""
    try:
        return checkpoint.read_header(path)
    except CheckpointError:
        return None


def _without_calibration(header: Header) -> Header:
    nothing = Platt.identity(len(header.classes))
    return header.model_copy(update={"calibration": nothing, "control": nothing})
