"""The wheel that users install: complete, one import name, usable beside their own code."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a source distribution of the tracked files."""
    source = tmp_path_factory.mktemp("source")
    for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0")[:-1]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name, follow_symlinks=False)
    program = "import setuptools.build_meta as backend; backend.build_sdist('dist')"
    run(sys.executable, "-c", program, cwd=source)
    [sdist] = (source / "dist").glob("*.tar.gz")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist")
    run(sys.executable, "-m", "pip", "wheel", *options, sdist, cwd=source)
    [built] = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel installed; the libraries that it needs are these tests' own."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    options = ("--quiet", "--no-deps", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    [site_packages] = (folder / "lib").glob("python*/site-packages")
    (site_packages / "libraries.pth").write_text(f"{Path(typer.__file__).parents[1]}\n")
    return folder


def test_the_wheel_holds_one_top_level_name_and_every_data_file(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [top_level] = (name for name in names if name.endswith(".dist-info/top_level.txt"))
        assert archive.read(top_level).decode().split() == ["mernet"]
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mernet"}
    tracked = run("git", "ls-files", "pds", "model", "db", "worker", "cli", "demo", cwd=ROOT)
    assert {f"mernet/{name}" for name in tracked.split()} <= names
    assert "mernet/py.typed" in names


def test_import_and_command_work_from_another_folder(environment: Path, tmp_path: Path):
    python = environment / "bin" / "python"
    place = run(python, "-c", "import mernet; print(mernet.__file__)", cwd=tmp_path)
    assert Path(place.strip()).is_relative_to(environment)
    assert "Usage: mernet" in run(environment / "bin" / "mernet", "--help", cwd=tmp_path)
