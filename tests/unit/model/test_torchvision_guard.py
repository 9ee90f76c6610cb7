"""Importing torchvision's models next to any build of torch; each try in a process of its own."""

import subprocess
import sys

import pytest


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_the_guarded_import_gives_vgg16():
    done = run(
        "from model.torchvision_guard import import_torchvision_models as models\n"
        "print(models().vgg16.__name__, models() is models())"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["vgg16", "True"]


def test_the_plain_import_fails_here_for_the_reason_that_the_guard_removes():
    done = run("import torchvision")
    if done.returncode == 0:
        pytest.skip("this torchvision's operators load next to this torch")
    assert "operator torchvision::nms does not exist" in done.stderr


def test_operators_that_are_already_there_are_left_alone():
    done = run(
        "import torch\n"
        "library = torch.library.Library('torchvision', 'FRAGMENT')\n"
        "schema = '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'\n"
        "for name in ('nms', 'qnms'): library.define(name + schema)\n"
        "import model.torchvision_guard as guard\n"
        "guard._load_extension = lambda: None\n"  # as if the extension had defined them
        "guard.import_torchvision_models()\n"
        "print(len(guard._libraries))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0"
