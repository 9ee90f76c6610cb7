"""The entry point: errors as one sentence, Ctrl-C while modules are imported."""

import signal
import subprocess
import sys

import pytest
from sqlalchemy.exc import ProgrammingError

from mernet.cli import commands, main
from mernet.db.errors import UnknownRun
from mernet.pds.errors import NotFoundError

INTERRUPTED_IMPORT = """
import os, signal, sys
awaited = sys.argv.pop(1)
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == awaited:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from mernet.cli.main import main
main()
"""


@pytest.fixture
def end_of_main(monkeypatch, capsys):
    """Run `mernet` so that its command raises an error; return the exit code and what it says."""

    def run(error: BaseException) -> tuple[int, str]:
        def fail() -> None:
            raise error

        monkeypatch.setattr(commands, "app", fail)
        with pytest.raises(SystemExit) as end:
            main.main()
        return end.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotFoundError("https://a.b/c does not exist (404)."), "Error: https://a.b/c does not"),
        (UnknownRun("There is no run 9."), "no run 9. `mernet run list` shows the runs"),
        (ProgrammingError("SELECT", {}, Exception("no such table")), "check its log"),
        (ModuleNotFoundError("No module", name="sklearn.metrics"), "install 'mernet[learning]'"),
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b may not be used by this user"),
        (OSError(28, "No space left on device", "/a/b"), "its disk is full; free space on it"),
        (OSError(28, "No space left on device"), "No space left on device; free space"),
        (IsADirectoryError(21, "Is a directory", "/a"), "/a is a folder; give a file"),
        (OSError(98, "Address already in use"), "in use; stop the program that uses the port"),
        (OSError(5, "Input/output error", "/a/b"), "/a/b'; check the path"),
    ],
)
def test_an_expected_error_is_one_sentence_and_exit_code_1(end_of_main, error, said):
    code, text = end_of_main(error)
    assert code == 1
    assert said in text
    assert text.count("\n") == 1


def test_a_programming_error_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(commands, "app", lambda: [][0])
    with pytest.raises(IndexError):
        main.main()


def test_ctrl_c_in_a_command_is_exit_code_130(end_of_main):
    assert end_of_main(KeyboardInterrupt()) == (130, "")


@pytest.mark.parametrize("module", ["typer", "mernet.cli.service.search", "sqlalchemy"])
def test_ctrl_c_while_modules_are_imported_shows_no_traceback(module):
    command = [sys.executable, "-P", "-c", INTERRUPTED_IMPORT, module, "search", "--help"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGINT, "")


INTERRUPTED_END = """
import atexit, os, signal, sys
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["mernet", "--version"]
from mernet.cli.main import main
main()
"""


def test_ctrl_c_while_the_process_ends_shows_no_traceback():
    ran = subprocess.run(
        [sys.executable, "-P", "-c", INTERRUPTED_END], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGINT, "")


def test_a_process_that_was_told_to_ignore_ctrl_c_ignores_it():
    ran = subprocess.run(
        [sys.executable, "-P", "-c", INTERRUPTED_IMPORT, "typer", "search", "--help"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (ran.returncode, ran.stderr) == (0, "")
