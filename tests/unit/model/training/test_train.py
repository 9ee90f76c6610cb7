"""A checkpoint depends only on the train and validation parts, and a stopped run continues."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mernet.model.backbone import Backbone
from mernet.model.checkpoint import Header, HeadKind, load
from mernet.model.classifier import Classifier
from mernet.model.errors import TrainingError
from mernet.model.pictures import read_picture
from mernet.model.softmax import SoftmaxHead
from mernet.model.training import feature_cache, train
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.evaluation.predictions import predict
from mernet.model.training.finetuning.recipes import RECIPES
from mernet.model.training.train import TrainingPlan

IMAGES, SIZE = 60, 32
PARTS = tuple([Part.TRAIN] * 36 + [Part.VALIDATION] * 12 + [Part.TEST] * 12)
QUICK = RECIPES["paper"].changed(variants=1, iterations=6, validate_every=3, validation_variants=1)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    """Pictures that are bright, striped, both or neither, with a class that is always there."""
    random = np.random.default_rng(1)
    bright, striped = random.random((2, IMAGES)) < 0.5
    pictures = random.integers(0, 60, (IMAGES, SIZE, SIZE), dtype=np.uint8)
    pictures[bright] += 90
    pictures[striped, ::2] += 100
    paths = tuple(tmp_path / f"{place:02}.png" for place in range(IMAGES))
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    labels = np.column_stack([bright, striped, np.ones(IMAGES, bool)])
    classes = ("bright", "striped", "there")
    return DataSet(classes, classes, paths, labels, (None,) * IMAGES)


@pytest.fixture
def run(data: DataSet, tiny: Backbone, tmp_path: Path) -> Callable[..., Header]:
    """Train into tmp_path / out.safetensors, with some of plan and arguments changed."""

    torch.set_num_threads(1)  # more would wait for each other on problems this small

    def run_training(
        data: DataSet = data, parts: tuple[Part, ...] = PARTS, **plan: object
    ) -> Header:
        fields = {
            "name": "test",
            "head": HeadKind.CHAIN,
            "recipe": QUICK,
            "weights": "random",
            "input_size": SIZE,
            "frozen": True,
            "seed": 0,
            "device": "cpu",
        }
        return train.train(
            data,
            parts,
            tiny,
            TrainingPlan(**(fields | plan)),
            out=tmp_path / "out.safetensors",
            folder=tmp_path / "out.training",
            progress=lambda *_: None,
        )

    return run_training


def test_the_checkpoint_knows_what_the_pictures_show(
    run: Callable[..., Header], data: DataSet, tmp_path: Path
):
    run()
    classifier = Classifier.load(tmp_path / "out.safetensors")
    tested = data.subset(range(48, IMAGES))
    probabilities = classifier.probabilities([read_picture(path) for path in tested.paths])
    assert ((probabilities > 0.5) == tested.labels).mean() > 0.9


def test_the_record_says_how_it_was_trained(run: Callable[..., Header], data: DataSet):
    header = run(seed=5)
    assert header.classes == data.classes
    assert header.data_set_hash == data.digest()
    assert header.training["seed"] == 5
    assert header.training["images"] == {"train": 36, "validation": 12, "test": 12}
    assert header.training["recipe"]["variants"] == 1


@pytest.mark.parametrize("frozen", [True, False])
def test_no_picture_of_the_test_part_is_read(
    run: Callable[..., Header], data: DataSet, monkeypatch: pytest.MonkeyPatch, frozen: bool
):
    read: list[Path] = []

    def recording_reader(path: Path) -> np.ndarray:
        read.append(path)
        return read_picture(path)

    monkeypatch.setattr(train, "read_picture", recording_reader)
    run(frozen=frozen)
    assert set(read) == set(data.paths[:48])


def test_labels_of_the_validation_part_move_the_calibration_and_not_the_head(
    run: Callable[..., Header], data: DataSet, tmp_path: Path
):
    first, head = run(), load(tmp_path / "out.safetensors").head
    data.labels[36:48, 0] ^= True
    second, same_head = run(), load(tmp_path / "out.safetensors").head
    assert (head.weight == same_head.weight).all()
    assert first.calibration != second.calibration


def test_a_second_run_computes_no_features_again(
    run: Callable[..., Header], monkeypatch: pytest.MonkeyPatch
):
    first = run()
    monkeypatch.setattr(feature_cache, "extract_features_within_memory", None)
    assert run() == first


def test_a_stopped_run_uses_the_features_that_it_computed(
    run: Callable[..., Header], monkeypatch: pytest.MonkeyPatch
):
    extract, pieces = feature_cache.extract_features_within_memory, []

    def stopped(*arguments: object) -> tuple[np.ndarray, int]:
        pieces.append(arguments)
        if len(pieces) == 3:
            raise KeyboardInterrupt
        return extract(*arguments)

    monkeypatch.setattr(feature_cache, "PICTURES_PER_FILE", 10)
    monkeypatch.setattr(feature_cache, "extract_features_within_memory", stopped)
    with pytest.raises(KeyboardInterrupt):
        run()
    run()
    assert len(pieces) == 3 + 2 + 2  # 36 train pictures are 4 pieces, 12 of validation are 2


def test_other_weights_or_sizes_share_no_features(
    run: Callable[..., Header], monkeypatch: pytest.MonkeyPatch
):
    run()
    monkeypatch.setattr(feature_cache, "extract_features_within_memory", None)
    with pytest.raises(TypeError):
        run(input_size=48)


def test_variants_of_the_train_part_are_used_for_training_too(
    run: Callable[..., Header], tmp_path: Path
):
    run()
    plain = load(tmp_path / "out.safetensors").head
    run(recipe=QUICK.changed(variants=3))
    varied = load(tmp_path / "out.safetensors").head
    assert (plain.weight != varied.weight).any()


def test_mixed_labels_change_a_frozen_chain_and_not_its_control(
    run: Callable[..., Header], data: DataSet, tmp_path: Path
):
    data.labels[:, 1] = np.random.default_rng(2).random(IMAGES) < 0.5
    data.labels[:, 2] = data.labels[:, 1]
    run()
    forced = load(tmp_path / "out.safetensors")
    run(recipe=QUICK.changed(label_mixing=1.0))
    mixed = load(tmp_path / "out.safetensors")
    assert forced.head.label_weight[2, 1] > mixed.head.label_weight[2, 1]
    assert (forced.control.weight == mixed.control.weight).all()


def test_fine_tuning_changes_the_backbone_and_freezing_does_not(
    run: Callable[..., Header], tiny: Backbone, tmp_path: Path
):
    first = tiny.network.state_dict()["0.weight"].numpy().copy()
    run(frozen=True)
    assert (load(tmp_path / "out.safetensors").backbone["0.weight"] == first).all()
    run(frozen=False)
    assert (load(tmp_path / "out.safetensors").backbone["0.weight"] != first).any()


def test_a_softmax_head_learns_one_class_an_image(
    run: Callable[..., Header], data: DataSet, tmp_path: Path
):
    data.labels[:] = np.eye(3, dtype=bool)[data.labels[:, 0].astype(int)]
    run(head=HeadKind.SOFTMAX)
    classifier = Classifier.load(tmp_path / "out.safetensors")
    assert isinstance(classifier.head, SoftmaxHead)
    tested = data.subset(range(48, IMAGES))
    main, control = predict(classifier, map(read_picture, tested.paths))
    assert control is not None
    assert main.before.sum(axis=1) == pytest.approx(np.ones(12))
    assert (main.after.argmax(axis=1) == tested.labels.argmax(axis=1)).mean() > 0.9


def test_a_softmax_head_refuses_images_with_several_classes(run: Callable[..., Header]):
    with pytest.raises(TrainingError, match="exactly one class"):
        run(head=HeadKind.SOFTMAX)


def test_a_part_without_images_is_refused(run: Callable[..., Header]):
    with pytest.raises(TrainingError, match="no image is in the part validation"):
        run(parts=tuple([Part.TRAIN] * 40 + [Part.TEST] * 20))


def test_predictions_after_calibration_are_what_is_published(
    run: Callable[..., Header], data: DataSet, tmp_path: Path
):
    run()
    classifier = Classifier.load(tmp_path / "out.safetensors")
    pictures = [read_picture(path) for path in data.paths[48:]]
    main, control = predict(classifier, pictures)
    assert (main.after.astype(np.float32) == classifier.probabilities(pictures)).all()
    assert main.before == pytest.approx(
        classifier.head.marginals(classifier.features(pictures), classifier.header.chain)
    )
    assert control is not None
    assert (control.before != main.before).any()
