"""The command line: help that helps, errors in one sentence, an exit code that tells."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.cli.lazy_group import LazyCommand

runner = CliRunner()
COMMAND = typer.main.get_command(app)


def every_command(command, words=("mernet",)):
    loaded = command.load() if isinstance(command, LazyCommand) else command
    yield pytest.param(words[1:], loaded, id=" ".join(words))
    for name, child in getattr(command, "commands", {}).items():
        yield from every_command(child, (*words, name))


@pytest.mark.parametrize(("words", "command"), list(every_command(COMMAND)))
def test_every_command_and_option_is_documented(words, command):
    assert command.help, f"mernet {' '.join(words)} has no help"
    for parameter in command.params:
        assert parameter.name == "help" or parameter.help, f"{words}: {parameter.name}"
    shown = runner.invoke(app, [*words, "--help"])
    assert shown.exit_code == 0


def test_without_a_command_the_help_is_shown():
    shown = runner.invoke(app, [])
    assert "mernet demo" in shown.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "full", "--archive", "phobos"), "Known archives: opportunity"),
        (("run", "full", "--archive", "/no/such/folder"), "existing path"),
        (("run", "cancel", "99"), "mernet run list"),
        (("status",), "mernet run full"),
        (("search", "skye"), "did you mean 'sky'"),
        (("search", "sky", "--sol", "ten"), "A:B"),
        (("search", "--rover", "Spirit"), "Name a class"),
        (("search", "sky", "--rover", "Curiosity"), "Curiosity"),
        (("show", "2P29504"), "27"),
        (("classify", "some.img"), "give --checkpoint FILE"),
        (("show", "2P295043688FFLB1DNP2380L2M1"), "was ever listed"),
        (("classifier", "promote", "nobody"), "Registered: random"),
    ],
)
def test_a_mistake_is_answered_with_one_sentence_and_an_exit_code(idle_service, words, said):
    ran = idle_service.run(*words)
    assert ran.returncode in (1, 2)
    assert said in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr


def test_a_checkpoint_that_is_none_is_refused(idle_service, tmp_path):
    path = tmp_path / "fake.safetensors"
    path.write_bytes(b"not a checkpoint")
    ran = idle_service.run("classifier", "add", str(path))
    assert ran.returncode == 1
    assert "is a text file; give a checkpoint" in ran.stderr


def test_a_search_imports_nothing_slow_that_it_does_not_need(idle_service):
    code = (
        "import sys; from mernet.cli.commands import app; app(['search'], standalone_mode=False);"
        "print(*sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=idle_service.environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert not {"torch", "celery", "alembic", "mako", "scipy", "numpy"} & set(ran.stdout.split())


def test_json_is_printed_alone_on_standard_output(idle_service):
    ran = idle_service.run("services", "status", "--json")
    assert [each["name"] for each in json.loads(ran.stdout)] == ["postgres", "redis"]
