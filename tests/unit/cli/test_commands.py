"""The table of commands: what it says is what the commands say, and each is loaded alone."""

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from mernet.cli.commands import COMMANDS, app
from mernet.cli.lazy_group import Command, CommandGroup, LazyGroup, lazy_commands

SLOW_TO_IMPORT = {"sqlalchemy", "celery", "numpy", "torch", "pydantic"}
REPORT = """
import json, sys
from mernet.cli.main import main
sys.argv[0] = "mernet"
try:
    main()
except SystemExit as end:
    code = end.code
sys.stderr.write(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))
"""


def commands(table=COMMANDS, words=()):
    for entry in table:
        if isinstance(entry, CommandGroup):
            yield from commands(entry.commands, (*words, entry.name))
        else:
            yield pytest.param((*words, entry.name), entry, id=" ".join((*words, entry.name)))


def imported_by(*words: str, **environment: str) -> set[str]:
    """The packages that a process has imported after `mernet` with these words."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", REPORT, *words],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    code, modules = json.loads(ran.stderr.splitlines()[-1])
    assert code == 0, ran.stderr
    return set(modules)


@pytest.mark.parametrize(("words", "command"), list(commands()))
def test_the_table_has_the_first_line_of_each_command_s_own_help(words, command: Command):
    module, _, function = command.function.partition(":")
    documented = getattr(import_module(f"mernet.cli.{module}"), function)
    assert inspect.getdoc(documented).partition("\n")[0] == command.help


@pytest.mark.parametrize(("words", "command"), list(commands()))
def test_the_help_of_a_command_imports_nothing_that_takes_seconds(words, command):
    slow = {"torch", "torchvision", "sklearn", "matplotlib", "pandas"}
    assert not imported_by(*words, "--help") & slow


def test_help_fills_its_lines_whatever_the_line_breaks_of_the_docstring():
    shown = CliRunner().invoke(app, ["search", "--help"], env={"COLUMNS": "80"}).output
    paragraph = shown.partition("For example:")[2].partition("╭")[0].strip()
    lines = [line.strip() for line in paragraph.splitlines()]
    for line, following in pairwise(lines):
        assert len(line) + len(" ") + len(following.split()[0]) > 60


@pytest.mark.parametrize(("words", "command"), list(commands()))
def test_every_command_in_the_table_loads_with_its_options(words, command):
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0, shown.output
    assert command.help.split()[-1].strip(".") in shown.output


def test_help_imports_no_command():
    assert not SLOW_TO_IMPORT & imported_by("--help")
    assert not SLOW_TO_IMPORT & imported_by("run", "--help")


@pytest.mark.parametrize("words", ["mernet ", "mernet run "])
def test_completion_of_a_command_imports_none(words):
    asked = {"_MERNET_COMPLETE": "complete_bash", "COMP_WORDS": words}
    ran = imported_by(**asked, COMP_CWORD=str(len(words.split())))
    assert not SLOW_TO_IMPORT & ran


def test_search_imports_what_it_needs_alone():
    unneeded = {"torch", "celery", "alembic", "mako", "scipy", "numpy"}
    assert not unneeded & imported_by("search", "--help")


def test_a_mistyped_command_is_answered_with_one_that_exists():
    ran = CliRunner().invoke(app, ["sarch"])
    assert (ran.exit_code, "Did you mean 'search'" in ran.output) == (2, True)


def test_the_version_is_that_of_the_package():
    ran = CliRunner().invoke(app, ["--version"])
    assert (ran.exit_code, ran.output) == (0, f"mernet {version('mernet')}\n")


@pytest.fixture
def group_without_a_library():
    """A group whose one command cannot be imported."""
    entry = Command("evaluate", "no_such_module:evaluate", "Evaluate a checkpoint.")
    return LazyGroup(name="mernet", commands=lazy_commands([entry]))


def test_help_of_a_command_does_not_need_the_libraries_of_an_extra(group_without_a_library, capsys):
    with pytest.raises(SystemExit) as end:
        group_without_a_library.main(["evaluate", "--help"])
    assert end.value.code == 0
    assert "Evaluate a checkpoint." in capsys.readouterr().out


def test_a_command_needs_its_libraries(group_without_a_library):
    with pytest.raises(ModuleNotFoundError):
        group_without_a_library.main(["evaluate"], standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "cancel", "x"), "write a whole number."),
        (("run", "cancel", "1.5"), "write a whole number."),
        (("metrics", "--port", "99999"), "write at most 65535."),
        (("metrics", "--port", "0"), "write at least 1."),
        (("search", "sky", "--min-probability", "much"), "write a number."),
        (("worker", "--queue", "clasify"), "'clasify' is not one of"),
        (("run", "full", "--products", "edx"), "'edx' is not one of"),
        (("run", "retry", "--reason", "not fuond"), "did you mean 'not found'?"),
        (("run", "retry", "--reason", "blank-imag"), "did you mean 'blank image'?"),
        (("run", "retry", "--reason", "xyzzy"), "The reasons are: "),
    ],
)
def test_a_value_that_cannot_be_used_is_answered_in_plain_words(words, said):
    ran = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    assert ran.exit_code == 2
    assert said in ran.output
    assert not any(each in ran.output for each in ("Input should", "Value error"))
