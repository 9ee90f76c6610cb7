"""The classifier: 25 probabilities that depend on the rendering and the checkpoint alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mernet.model import checkpoint
from mernet.model.backbone import Backbone
from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead
from mernet.model.classes import CODES
from mernet.model.classifier import Classifier
from mernet.model.errors import DeviceError, ModelError, OutOfDeviceMemoryError, RenderingError


@pytest.fixture
def classifier(saved: Path) -> Classifier:
    return Classifier.load(saved, device="cpu", batch_size=4)


def test_each_rendering_gets_25_probabilities(classifier: Classifier, renderings: list[np.ndarray]):
    probabilities = classifier.probabilities(renderings)
    assert probabilities.shape == (13, 25)
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (probabilities.std(axis=0) > 0).all()


def test_no_renderings_give_no_rows(classifier: Classifier):
    assert classifier.probabilities([]).shape == (0, 25)


def test_a_checkpoint_loaded_twice_gives_the_same_bits(
    classifier: Classifier, saved: Path, renderings: list[np.ndarray]
):
    again = Classifier.load(saved, device="cpu", batch_size=4)
    assert (again.probabilities(renderings) == classifier.probabilities(renderings)).all()


def test_probabilities_are_calibrated_marginals(
    classifier: Classifier, renderings: list[np.ndarray]
):
    features = classifier.features(renderings)
    header = classifier.header
    marginals = classifier.head.marginals(features, header.chain)
    expected = 1 / (1 + np.exp(-np.log(marginals / (1 - marginals)) / 2.0 + 0.5))
    assert classifier.probabilities(renderings) == pytest.approx(expected, rel=1e-5)


def test_a_classifier_is_known_by_its_files_hash_and_gives_its_header(
    classifier: Classifier, saved: Path
):
    assert classifier.sha256 == checkpoint.sha256_of(saved)
    assert classifier.header.name == "test"


def test_the_threshold_is_compared_in_the_type_of_the_probabilities(classifier: Classifier):
    assert classifier.threshold == np.float32(0.9)
    assert not np.float32(0.9) > classifier.threshold


@pytest.mark.parametrize(
    ("rendering", "message"),
    [
        (np.zeros((16, 16), np.float32), "rendering 1 is float32"),
        (np.zeros((16, 16, 3), np.uint8), r"rendering 1 has shape \(16, 16, 3\)"),
        (np.zeros((7, 16), np.uint8), r"rendering 1 has shape \(7, 16\)"),
        ("a path", "rendering 1 is str"),
    ],
)
def test_what_is_not_a_grey_8_bit_picture_is_refused_naming_its_index(
    classifier: Classifier, rendering: object, message: str
):
    with pytest.raises(RenderingError, match=message):
        classifier.probabilities([np.zeros((16, 16), np.uint8), rendering])


def test_a_device_that_is_not_available_is_refused(saved: Path):
    with pytest.raises(ModelError, match="CUDA device cuda:99 is not available"):
        Classifier.load(saved, device="cuda:99")
    with pytest.raises(ModelError, match="unknown device 'abacus'"):
        Classifier.load(saved, device="abacus")


@pytest.mark.parametrize("choice", [{"batch_size": 0}, {"threads": 0}])
def test_a_batch_or_thread_count_below_one_is_refused(saved: Path, choice: dict[str, int]):
    with pytest.raises(ModelError, match="at least 1"):
        Classifier.load(saved, **choice)


def test_threads_sets_torchs_thread_count(saved: Path):
    before = torch.get_num_threads()
    try:
        Classifier.load(saved, threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class SmallDevice(torch.nn.Module):
    """A network that runs out of memory above a batch size, and counts its passes."""

    def __init__(self, network: torch.nn.Module, largest: int) -> None:
        super().__init__()
        self.network, self.largest, self.seen = network, largest, []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(batch))
        if len(batch) > self.largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return self.network(batch)


def on_small_device(saved: Path, tiny: Backbone, largest: int) -> tuple[Classifier, SmallDevice]:
    loaded = checkpoint.load(saved)
    network = SmallDevice(tiny.network, largest)
    backbone = Backbone("tiny", network, tiny.feature_count)
    return Classifier(loaded.header, backbone, loaded.head, None, "sha", batch_size=8), network


def test_out_of_memory_halves_the_batch_and_continues(
    saved: Path, tiny: Backbone, renderings: list[np.ndarray]
):
    classifier, network = on_small_device(saved, tiny, largest=3)
    probabilities = classifier.probabilities(renderings)
    assert network.seen == [8, 4] + [2] * 7
    assert classifier.batch_size == 2
    expected = Classifier.load(saved, device="cpu", batch_size=2).probabilities(renderings)
    assert (probabilities == expected).all()


def test_out_of_memory_at_one_image_is_an_error(
    saved: Path, tiny: Backbone, renderings: list[np.ndarray]
):
    classifier, _ = on_small_device(saved, tiny, largest=0)
    with pytest.raises(OutOfDeviceMemoryError, match="one image does not fit"):
        classifier.probabilities(renderings)


class BrokenDevice(torch.nn.Module):
    """A network whose device fails."""

    def __init__(self, network: torch.nn.Module, text: str) -> None:
        super().__init__()
        self.network, self.text = network, text

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(self.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA", DeviceError),
        ("CUDA error: unspecified launch failure", DeviceError),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", DeviceError),
        ("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", OutOfDeviceMemoryError),
        ("CUDA error: out of memory", OutOfDeviceMemoryError),
        ("mat1 and mat2 shapes cannot be multiplied", RuntimeError),
    ],
)
def test_a_device_that_fails_is_told_apart_from_a_defect(
    saved: Path, tiny: Backbone, renderings: list[np.ndarray], text: str, expected: type[Exception]
):
    loaded = checkpoint.load(saved)
    backbone = Backbone("tiny", BrokenDevice(tiny.network, text), tiny.feature_count)
    classifier = Classifier(loaded.header, backbone, loaded.head, None, "sha", batch_size=8)
    with pytest.raises(expected) as caught:
        classifier.probabilities(renderings)
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def vgg16_file(vgg16: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VGG-16 checkpoint with a random head, stored as float16."""
    random = np.random.default_rng(8)
    chain = ChainHead(
        weight=random.normal(scale=0.5, size=(25, 4096)),
        label_weight=np.tril(random.normal(size=(25, 25)), -1),
        bias=random.normal(size=25),
    )
    header = checkpoint.Header(
        name="random VGG-16",
        backbone="vgg16",
        input_size=64,
        calibration=Platt.identity(len(CODES)),
        data_set_hash="none",
    )
    path = tmp_path_factory.mktemp("vgg16") / "vgg16.safetensors"
    checkpoint.save(path, header, vgg16, chain, storage="float16")
    return path


def test_vgg16_gives_the_same_bits_at_every_position_in_a_batch_and_with_any_other_images(
    vgg16_file: Path, renderings: list[np.ndarray]
):
    classifier = Classifier.load(vgg16_file, device="cpu", batch_size=4)
    subject, others = renderings[0], renderings[1:]
    alone = classifier.probabilities([subject])[0]
    for place in range(4):
        company = others[place * 3 : place * 3 + 3]
        batch = [*company[:place], subject, *company[place:]]
        assert (classifier.probabilities(batch)[place] == alone).all()


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(vgg16_file: Path, renderings: list[np.ndarray]):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    on_cpu, on_cuda = (
        Classifier.load(vgg16_file, device=device).probabilities(renderings)
        for device in ("cpu", "cuda")
    )
    assert on_cuda == pytest.approx(on_cpu, abs=1e-3)
