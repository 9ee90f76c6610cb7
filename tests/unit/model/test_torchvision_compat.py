"""Importing torchvision's models next to any build of torch; each test in a process of its own."""

import subprocess
import sys

import pytest


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_the_import_gives_vgg16_and_may_be_repeated():
    done = run(
        "from mernet.model.torchvision_compat import import_torchvision_models as models\n"
        "print(models().vgg16.__name__, models() is models())"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["vgg16", "True"]


def test_the_plain_import_fails_here_for_the_reason_that_our_import_removes():
    done = run("import torchvision")
    if done.returncode == 0:
        pytest.skip("this torchvision's operators load next to this torch")
    assert "operator torchvision::nms does not exist" in done.stderr
