"""The command line: a table of commands, each imported only when it runs or shows its help.

This module imports neither torch nor pydantic, so that `revlm --help` answers at once.
"""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from revlm import __version__
from revlm.cli.options import STYLE
from revlm.cli.terminal.failures import failure_of
from revlm.cli.terminal.streams import guarded_streams
from revlm.errors import RankError, RemoteRankError, UsageError
from revlm.imports import safe_path_in_children
from revlm.launch import launch_of
from revlm.libraries import set_library_defaults

COMMANDS = {
    "fetch": "Download public-domain novels by name or Gutenberg number.",
    "tokenize": "Tokenize a folder of texts into a token store.",
    "data": "Show the contents of a token store, or merge shards.",
    "train": "Train a model, or resume its run.",
    "generate": "Continue a prompt with a trained model.",
    "evaluate": "Score a trained model on held-out documents.",
    "plan": "Predict a recipe's memory before it runs, and what fits.",
    "report": "Write reports of runs as HTML and PNG: loss, memory, samples.",
    "recipes": "List the bundled recipes, or print one.",
    "checkpoint": "List, verify, export or prune checkpoints.",
    "environment": "Show versions and hardware, for bug reports.",
}
"""The name of each command, of its module in revlm.cli and of the function there; and its line in the help."""


class LazyCommands(TyperGroup):
    """A group whose help comes from the table; a command is imported only when it is needed."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """The names of the commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """The command of that name, imported from its module; None if the table does not have it."""
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The command that the arguments name; for an unknown name, the error suggests similar ones."""
        self.commands = cast(Any, dict.fromkeys(COMMANDS))  # suggestions come from these names
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the table into the help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(name="revlm", cls=LazyCommands, **STYLE)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"revlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
) -> None:
    """Train a language model on whole long documents, on one device.

    \b
    Examples:
      revlm fetch moby-dick -o data/texts
      revlm tokenize data/texts -o data/demo
      revlm train demo
      revlm generate --prompt "It was"
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default this process's, and returns its exit code; an error prints one sentence."""
    set_library_defaults(os.environ)
    arguments, debug = _split_off_debug(sys.argv[1:] if arguments is None else arguments)
    with guarded_streams():
        try:
            exit_code = _run(arguments)
            sys.stdout.flush()
            return exit_code
        except SystemExit:
            raise
        except BaseException as error:
            if debug:
                traceback.print_exc()
            failure = failure_of(error)
            if failure.sentence:
                print(f"revlm: {_rank_prefix()}{failure.sentence}", file=sys.stderr)
            if isinstance(error, RankError | RemoteRankError):
                _end_without_threads(failure.exit_code)
            return failure.exit_code


def _end_without_threads(exit_code: int) -> NoReturn:
    """Ends the process at once: threads of `torch.distributed` may still wait for the rank that failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _run(arguments: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    try:
        # With color=True, typer passes text through unchanged: only the guarded streams filter what is printed.
        context = command.make_context("revlm", list(arguments) or ["--help"], color=True)
        with safe_path_in_children(), context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _rank_prefix() -> str:
    """The name of this rank as a prefix of its messages; empty on rank 0."""
    try:
        launch = launch_of(os.environ)
    except UsageError:
        return ""
    return "" if launch.is_rank0 else f"{launch.name}: "


def _split_off_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without --debug, which may be anywhere before `--`, and whether it was given."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"]
    return [*kept, *arguments[end:]], len(kept) < end


def _load(name: str) -> Any:
    """The command of the module revlm.cli.<name>: its `app` of subcommands, or the function of that name."""
    module = import_module(f"revlm.cli.{name}")
    commands = getattr(module, "app", None)
    if commands is None:
        function = getattr(module, name)
        commands = typer.Typer(**STYLE)
        commands.command(name, help=_keep_example_lines(function.__doc__))(function)
    return typer.main.get_command(commands)


def _keep_example_lines(docstring: str) -> str:
    """Marks the examples in a docstring, its indented paragraphs, so that the help keeps their line breaks."""
    paragraphs = re.split(r"\n\s*\n", cleandoc(docstring))
    return "\n\n".join(
        f"\b\n{paragraph}" if re.search(r"^\s", paragraph, re.MULTILINE) else paragraph for paragraph in paragraphs
    )
