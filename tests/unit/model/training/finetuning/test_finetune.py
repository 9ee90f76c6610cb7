"""Fine-tuning end to end with a tiny network: what it learns, and that a stopped run continues."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mernet.model.backbone import ARCHITECTURES, Architecture, Backbone, build_backbone
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import HeadKind
from mernet.model.errors import BackboneError, TrainingError
from mernet.model.softmax import SoftmaxHead
from mernet.model.training.finetuning.batches import LabelledImages, prepare_images
from mernet.model.training.finetuning.finetune import CURVES_FILE, FineTunedModel, fine_tune
from mernet.model.training.finetuning.heads import TrainableChain
from mernet.model.training.finetuning.network import TrainableNetwork
from mernet.model.training.finetuning.recipes import RECIPES, Recipe
from mernet.model.training.finetuning.training_state import STATE_FILE
from mernet.model.training.progress import ProgressCallback

SIZE, FEATURES = 16, 8
QUICK = RECIPES["best"].changed(
    iterations=12,
    batch_size=8,
    backbone_learning_rate=0.003,
    head_learning_rate=0.03,
    warm_up=3,
    variants=2,
    validate_every=4,
)

FineTune = Callable[..., FineTunedModel]


def _tiny_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, FEATURES, 3),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


@pytest.fixture
def backbone(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    monkeypatch.setitem(ARCHITECTURES, "tiny", Architecture(_tiny_network, FEATURES))
    torch.set_num_threads(1)
    return build_backbone("tiny", seed=1)


def drawn_images(count: int, seed: int) -> LabelledImages:
    """Pictures with class 0 bright, class 1 striped, and class 2 wherever class 0 is."""
    random = np.random.default_rng(seed)
    bright, striped = random.random((2, count)) < 0.5
    pictures = random.integers(0, 60, (count, SIZE, SIZE), dtype=np.uint8)
    pictures[bright] += 90
    pictures[striped, ::2] += 100
    return prepare_images(pictures, np.column_stack([bright, striped, bright]), SIZE)


def one_class_each(count: int, seed: int) -> LabelledImages:
    images = drawn_images(count, seed)
    striped = images.labels[:, 1:2]
    return LabelledImages(images.pixels, torch.cat([striped, 1 - striped], dim=1))


@pytest.fixture
def run_fine_tuning(backbone: Backbone, tmp_path: Path) -> FineTune:
    """Fine-tune quickly, with some arguments changed, into a temporary `folder`."""

    def run(recipe: Recipe = QUICK, folder: str = "run", **changes: object) -> FineTunedModel:
        arguments = {
            "images": drawn_images(40, seed=2),
            "validation": drawn_images(20, seed=3),
            "head": HeadKind.CHAIN,
        }
        return fine_tune(backbone, recipe=recipe, folder=tmp_path / folder, **(arguments | changes))

    return run


def tensors(tuned: FineTunedModel) -> list[np.ndarray]:
    """All trained weights."""
    weights = [value.numpy() for value in tuned.backbone.network.state_dict().values()]
    heads = (tuned.head, tuned.control)
    return weights + [part for head in heads for part in (head.weight, head.bias)]


def same(first: FineTunedModel, second: FineTunedModel) -> bool:
    return all(map(np.array_equal, tensors(first), tensors(second)))


def interrupt_at(last: int) -> ProgressCallback:
    def progress(_stage: str, step: int, _total: int, _remark: str) -> None:
        if step == last:
            raise KeyboardInterrupt

    return progress


def test_visible_classes_are_learned(run_fine_tuning: FineTune):
    recipe = QUICK.changed(iterations=100, validate_every=50)
    curve = run_fine_tuning(recipe).curve
    entropy = 3 * np.log(2)
    assert curve[-1].validation_loss < 0.4 * entropy
    assert curve[-1].validation_control_loss < 0.6 * entropy
    assert curve[-1].train_loss < curve[0].train_loss


def test_the_chain_learns_that_one_class_depends_on_another(run_fine_tuning: FineTune):
    head = run_fine_tuning(
        QUICK.changed(iterations=50, head_learning_rate=0.1, validate_every=50)
    ).head
    assert isinstance(head, ChainHead)
    assert head.label_weight[2, 0] > 1
    assert not np.triu(head.label_weight).any()


@pytest.mark.parametrize("stopped_at", [1, 4, 7, 12])
def test_a_stopped_run_continues_to_the_same_weights(run_fine_tuning: FineTune, stopped_at: int):
    whole = run_fine_tuning(folder="whole")
    with pytest.raises(KeyboardInterrupt):
        run_fine_tuning(folder="stopped", progress=interrupt_at(stopped_at))
    resumed = run_fine_tuning(folder="stopped")
    assert same(resumed, whole)
    assert resumed.curve == whole.curve


def test_a_killed_run_continues_from_the_last_saved_state(
    run_fine_tuning: FineTune, tmp_path: Path
):
    def kill(_stage: str, step: int, _total: int, _remark: str) -> None:
        if step == 8:
            raise SystemExit

    seen: list[int] = []
    with pytest.raises(SystemExit):
        run_fine_tuning(folder="killed", save_every=3, progress=kill)
    resumed = run_fine_tuning(folder="killed", progress=lambda _, step, *__: seen.append(step))
    assert seen[0] == 7
    assert same(resumed, run_fine_tuning(folder="whole"))


def test_a_finished_run_is_not_trained_again(run_fine_tuning: FineTune):
    first, seen = run_fine_tuning(), []
    assert same(run_fine_tuning(progress=lambda _, step, *__: seen.append(step)), first)
    assert seen == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, r"different seed \(0, now 5\)"),
        ({"recipe": QUICK.changed(weight_decay=0.5)}, r"weight_decay \(0.05, now 0.5\)"),
        ({"head": HeadKind.INDEPENDENT}, r"head \(chain, now independent\)"),
        ({"images": drawn_images(41, seed=2)}, "different images"),
        ({"validation": drawn_images(20, seed=4)}, "different validation"),
    ],
)
def test_a_run_does_not_continue_with_other_settings(
    run_fine_tuning: FineTune, change: dict[str, object], message: str
):
    with pytest.raises(KeyboardInterrupt):
        run_fine_tuning(progress=interrupt_at(2))
    with pytest.raises(TrainingError, match=message):
        run_fine_tuning(**change)


def test_a_damaged_state_is_named(run_fine_tuning: FineTune, tmp_path: Path):
    path = tmp_path / "run" / STATE_FILE
    path.parent.mkdir()
    path.write_bytes(b"not a state")
    with pytest.raises(TrainingError, match=r"state\.pt is damaged .*; delete it"):
        run_fine_tuning()


def test_labels_that_the_chain_drew_itself_change_what_it_learns(run_fine_tuning: FineTune):
    taught = run_fine_tuning(QUICK.changed(label_mixing=0.0), folder="taught")
    mixed = run_fine_tuning(QUICK.changed(label_mixing=1.0), folder="mixed")
    assert isinstance(taught.head, ChainHead)
    assert isinstance(mixed.head, ChainHead)
    assert not np.array_equal(taught.head.label_weight, mixed.head.label_weight)


def test_training_stops_when_patience_ends_and_uses_the_best_weights(run_fine_tuning: FineTune):
    hasty = QUICK.changed(
        iterations=400,
        head_learning_rate=3.0,
        schedule="constant",
        label_mixing=0.0,
        validate_every=4,
        patience=3,
    )
    stopped = run_fine_tuning(hasty, folder="stopped")
    losses = [row.validation_loss for row in stopped.curve]
    best = stopped.curve[losses.index(min(losses))].step
    assert stopped.curve[-1].step == best + 3 * 4 < 400
    assert same(stopped, run_fine_tuning(hasty.changed(iterations=best), folder="to-the-best"))


def test_the_control_does_not_move_the_network(
    run_fine_tuning: FineTune, monkeypatch: pytest.MonkeyPatch
):
    both = run_fine_tuning(folder="both")
    loss = TrainableChain.loss

    def linked_only(self: TrainableChain, *arguments: object) -> torch.Tensor:
        return loss(self, *arguments) * (1.0 if self.linked else 0.0)

    monkeypatch.setattr(TrainableChain, "loss", linked_only)
    alone = run_fine_tuning(folder="alone")
    assert not np.array_equal(alone.control.weight, both.control.weight)
    assert np.array_equal(alone.head.weight, both.head.weight)
    pairs = zip(tensors(alone)[:2], tensors(both)[:2], strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)


def test_independent_classes_have_no_links_and_equal_their_control(run_fine_tuning: FineTune):
    tuned = run_fine_tuning(QUICK.changed(gradient_clip=1e9), head=HeadKind.INDEPENDENT)
    assert isinstance(tuned.head, ChainHead)
    assert not tuned.head.label_weight.any()
    assert tuned.head.weight == pytest.approx(tuned.control.weight, abs=1e-6)


def test_a_softmax_head_learns_images_of_one_class(run_fine_tuning: FineTune):
    recipe = QUICK.changed(iterations=60, validate_every=60)
    data = {"images": one_class_each(40, seed=2), "validation": one_class_each(20, seed=3)}
    tuned = run_fine_tuning(recipe, head=HeadKind.SOFTMAX, **data)
    assert isinstance(tuned.head, SoftmaxHead)
    assert tuned.curve[-1].validation_loss < 0.4 * np.log(2)
    assert tuned.control.bias.shape == (2,)


def test_the_given_backbone_and_torchs_random_state_stay_as_they_were(
    run_fine_tuning: FineTune, backbone: Backbone
):
    weights = [value.clone() for value in backbone.network.state_dict().values()]
    state = torch.random.get_rng_state()
    tuned = run_fine_tuning()
    assert all(map(torch.equal, backbone.network.state_dict().values(), weights))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(tuned.backbone.network.state_dict()["0.weight"], weights[0])
    assert not tuned.backbone.network.training


def test_the_curve_is_written_row_by_row(run_fine_tuning: FineTune, tmp_path: Path):
    curve = run_fine_tuning(RECIPES["paper"].changed(iterations=10, validate_every=4)).curve
    lines = (tmp_path / "run" / CURVES_FILE).read_text().splitlines()
    assert lines[0].startswith("step,train_loss,control_loss,validation_loss,")
    assert [int(line.split(",")[0]) for line in lines[1:]] == [4, 8, 10]
    assert [row.step for row in curve] == [4, 8, 10]


def test_an_infinite_loss_ends_training_with_advice(run_fine_tuning: FineTune):
    wild = QUICK.changed(backbone_learning_rate=1e30, optimiser="sgd", gradient_clip=1e30)
    with pytest.raises(TrainingError, match="lower the learning rates"):
        run_fine_tuning(wild)


def test_a_batch_that_does_not_fit_the_device_ends_training_with_advice(
    run_fine_tuning: FineTune, monkeypatch: pytest.MonkeyPatch
):
    def too_big(*_: object) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(TrainableNetwork, "losses", too_big)
    with pytest.raises(TrainingError, match=r"batch of 8 .* use a smaller batch"):
        run_fine_tuning()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more"),
        ({"head": HeadKind.SOFTMAX}, "exactly one class per image"),
        ({"validation": one_class_each(5, seed=1)}, "have classes 3, validation pictures 2"),
    ],
)
def test_inputs_that_do_not_match_are_refused(
    run_fine_tuning: FineTune, change: dict[str, object], message: str
):
    with pytest.raises(TrainingError, match=message):
        run_fine_tuning(**change)


def test_pictures_of_a_size_that_the_network_does_not_accept_are_refused(
    run_fine_tuning: FineTune, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(ARCHITECTURES, "tiny", Architecture(_tiny_network, FEATURES, None, 32))
    with pytest.raises(BackboneError, match="32 pixels only, not 16"):
        run_fine_tuning()


@pytest.mark.gpu
def test_on_a_gpu_visible_classes_are_learned_and_a_stopped_run_continues(
    run_fine_tuning: FineTune,
):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    recipe = QUICK.changed(iterations=150, patience=100)
    whole = run_fine_tuning(recipe, folder="whole", device="cuda")
    assert whole.curve[-1].validation_loss < 0.4 * 3 * np.log(2)
    with pytest.raises(KeyboardInterrupt):
        run_fine_tuning(recipe, folder="stopped", device="cuda", progress=interrupt_at(70))
    assert same(run_fine_tuning(recipe, folder="stopped", device="cuda"), whole)
