"""`import mernet`: classifiers and products. Searches are in tests/integration."""

import subprocess
import sys

import numpy as np
import pytest

import mernet
from fixtures.products import (
    known_probabilities,
    write_browse_picture,
    write_known_checkpoint,
    write_pds3_product,
    write_pds4_product,
)
from mernet.worker.settings import settings

LARGE_LIBRARIES = ("torch", "torchvision", "numpy", "sqlalchemy", "pydantic", "rasterio", "pandas")


@pytest.fixture(autouse=True)
def fresh_settings(monkeypatch):
    """Settings without variables of whoever runs the tests."""
    for name in ("MERNET_CHECKPOINT", "MERNET_DEVICE", "MERNET_BATCH_SIZE", "MERNET_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def checkpoint_path(tmp_path, monkeypatch):
    path = tmp_path / "mernet.safetensors"
    write_known_checkpoint(path, monkeypatch)
    return path


@pytest.fixture
def classifier(checkpoint_path):
    return mernet.load_classifier(checkpoint_path, device="cpu")


@pytest.fixture
def pds3_path(tmp_path):
    return write_pds3_product(tmp_path)


@pytest.fixture
def pds4_path(tmp_path):
    return write_pds4_product(tmp_path)


def loaded_after(code):
    """Which large libraries a fresh interpreter has loaded after `code`."""
    script = f"{code}\nimport sys\nprint(*[m for m in {LARGE_LIBRARIES} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_importing_loads_no_large_library():
    assert loaded_after("import mernet; mernet.__version__; dir(mernet)") == set()


def test_reading_and_rendering_a_product_load_neither_torch_nor_sqlalchemy(pds3_path):
    loaded = loaded_after(f"import mernet; mernet.render(mernet.read_product({str(pds3_path)!r}))")
    assert loaded & {"torch", "sqlalchemy"} == set()


def test_every_public_name_exists_is_listed_and_has_a_docstring():
    assert set(mernet.__all__) <= set(dir(mernet))
    for name in set(mernet.__all__) - {"__version__"}:
        assert getattr(mernet, name).__doc__, name


def test_the_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert mernet.__version__ == version("mernet")


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'klassifier'"):
        _ = mernet.klassifier


def test_the_probabilities_are_those_of_the_checkpoint_in_chain_order(classifier, pds3_path):
    prediction = classifier.classify(pds3_path)
    assert prediction.probabilities == pytest.approx(known_probabilities(), abs=1e-6)
    assert list(prediction.probabilities) == list(classifier.classes)
    assert all(type(each) is float for each in prediction.probabilities.values())


def test_classes_above_the_threshold_come_with_the_most_probable_first(classifier, pds3_path):
    above = classifier.classify(pds3_path).above_threshold
    assert list(above) == ["soi", "rtr", "sky"]
    assert above["rtr"] == pytest.approx(0.97, abs=1e-6)


def test_a_file_its_bytes_its_frame_and_its_rendering_are_the_same_image(pds3_path):
    expected = mernet.render(pds3_path)
    assert expected.dtype == np.uint8
    assert (expected.min(), expected.max()) == (0, 255)
    for image in (
        str(pds3_path),
        pds3_path.read_bytes(),
        mernet.read_product(pds3_path),
        expected,
        write_browse_picture(pds3_path),
        write_browse_picture(pds3_path).read_bytes(),
    ):
        np.testing.assert_array_equal(mernet.render(image), expected)


def test_a_pds4_product_is_read_by_label_data_file_or_bytes(pds4_path):
    data_path = pds4_path.with_suffix(".img")
    pixels = mernet.read_product(pds4_path).pixels
    for frame in (
        mernet.read_product(str(data_path)),
        mernet.read_product(data_path.read_bytes(), label=pds4_path.read_bytes()),
    ):
        np.testing.assert_array_equal(frame.pixels, pixels)


def test_many_images_are_classified_in_batches_and_in_order(classifier, pds3_path, monkeypatch):
    batches = []
    model = classifier._classifier
    score = type(model).probabilities

    def recorded(self, renderings):
        batches.append([int(rendering[0, 0]) for rendering in renderings])
        return score(self, renderings)

    monkeypatch.setattr(type(model), "probabilities", recorded)
    model.batch_size = 3
    images = (np.full((32, 32), value, np.uint8) for value in range(7))
    assert len(list(classifier.classify_many(images))) == 7
    assert batches == [[0, 1, 2], [3, 4, 5], [6]]


def test_the_checkpoint_may_come_from_the_environment(checkpoint_path, monkeypatch):
    with pytest.raises(mernet.CheckpointNotNamedError, match="MERNET_CHECKPOINT"):
        mernet.load_classifier()
    monkeypatch.setenv("MERNET_CHECKPOINT", str(checkpoint_path))
    settings.cache_clear()
    assert repr(mernet.load_classifier(device="cpu")) == (
        "<ProductClassifier 'mernet': 25 classes, threshold 0.9>"
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32), np.int16),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((32, 32), np.float32),
        b"",
        b"not a product",
        "missing.img",
        "missing.jpg",
    ],
)
def test_what_cannot_be_classified_is_refused_with_the_common_error(classifier, image):
    with pytest.raises(mernet.MernetError):
        classifier.classify(image)


def test_an_array_of_another_kind_is_told_what_is_expected():
    with pytest.raises(mernet.MernetError, match="uint8 array, pixels stretched linearly"):
        mernet.render(np.zeros((4, 4), np.uint16))


def test_a_label_is_for_bytes_alone(pds4_path):
    with pytest.raises(TypeError, match="found beside it"):
        mernet.read_product(pds4_path, label=b"")


def test_without_pandas_the_error_names_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(mernet.MissingLibraryError, match="pip install pandas"):
        mernet.to_dataframe([])


def test_no_records_give_an_empty_data_frame_with_all_columns():
    table = mernet.to_dataframe([])
    assert list(table.columns) == list(mernet.SearchRecord.__annotations__)
    assert str(table.dtypes["sol"]) == "Int64"


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_without_a_file_name_is_an_error_of_ours(path):
    with pytest.raises(mernet.MernetError, match="is not a file"):
        mernet.render(path)


def test_an_image_that_cannot_be_read_comes_with_its_error_and_the_others_are_classified(
    classifier, pds3_path, tmp_path
):
    images = [pds3_path, tmp_path / "missing.img", np.zeros((1, 1), np.uint8), b"", pds3_path]
    found = list(classifier.classify_each(images))
    assert [image is given for (image, _), given in zip(found, images, strict=True)] == [True] * 5
    kinds = [isinstance(result, mernet.Prediction) for _, result in found]
    assert kinds == [True, False, False, False, True]
    assert all(isinstance(result, mernet.MernetError) for _, result in found[1:4])
    assert "missing.img" in str(found[1][1])
