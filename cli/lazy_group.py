"""A group of commands that lists them from a table and imports only the one that runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from mernet.cli.interrupts import raise_interrupts
from mernet.cli.plain_values import in_plain_words


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its name, the function that it runs, and the first line of its help.

    The function is written `module:function`, the module below `mernet.cli`.
    """

    name: str
    function: str
    help: str
    panel: str | None = None


@dataclass(frozen=True, slots=True)
class CommandGroup:
    """Commands under a common name."""

    name: str
    help: str
    commands: tuple[Command, ...]
    panel: str | None = None


class LoadedCommand(TyperCommand):
    """A command with its options, which says in plain words which value cannot be used."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command's name."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = in_plain_words(error.message)
            raise


class LazyCommand(TyperCommand):
    """A command as help and completion show it, before its module is imported."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.name, help=command.help, rich_help_panel=command.panel)
        self._function = command.function

    def load(self) -> Any:
        """Import the command's module and return the command with its options.

        From then on, Ctrl-C is an exception, after which the command cleans up.
        """
        module, _, function = self._function.partition(":")
        app = typer.Typer(add_completion=False)
        app.command(self.name, cls=LoadedCommand)(
            getattr(import_module(f"mernet.cli.{module}"), function)
        )
        loaded = typer.main.get_command(app)
        loaded.help = _as_paragraphs(loaded.help)
        raise_interrupts()
        return loaded


def _as_paragraphs(text: str | None) -> str | None:
    """Return a docstring with each paragraph on one line: help is wrapped to the terminal's width.

    Typer would keep the line breaks of the source in all paragraphs but the first.
    """
    if text is None:
        return None
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


class LazyGroup(TyperGroup):
    """A group whose commands are loaded when one of them runs or completes its own options."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option `--help`, false unless it is given.

        Without a default, Typer imports Pydantic to convert its None, whatever command runs.
        """
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the first word names, and load it.

        If a library of an extra is not installed, help and completion show what the table says.
        """
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, LazyCommand):
            try:
                command = command.load()
            except ModuleNotFoundError:
                if not (ctx.resilient_parsing or "--help" in rest):
                    raise
        return name, command, rest


def lazy_commands(table: Sequence[Command | CommandGroup]) -> dict[str, Any]:
    """Return the commands and groups of a table by name; none of their modules is imported."""
    return {
        entry.name: LazyCommand(entry)
        if isinstance(entry, Command)
        else LazyGroup(
            name=entry.name,
            help=entry.help,
            commands=lazy_commands(entry.commands),
            no_args_is_help=True,
            rich_help_panel=entry.panel,
        )
        for entry in table
    }
