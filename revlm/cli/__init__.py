"""The command line: a table of commands, each imported only when it is called or its own help is asked for.

This module and the table load neither torch nor pydantic, so that `revlm --help` answers at once.
"""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from revlm import __version__
from revlm.cli.terminal.failures import failure_of
from revlm.cli.terminal.streams import guarded_streams
from revlm.errors import UsageError
from revlm.imports import safe_path_in_children
from revlm.launch import launch_of

COMMANDS = {
    "fetch": "Bring public-domain novels by name or Gutenberg number.",
    "tokenize": "Turn a folder of texts into tokens on disk.",
    "data": "Show what is in a token store, or merge shards.",
    "train": "Train a model, or go on where its run stands.",
    "generate": "Continue a prompt with a trained model.",
    "evaluate": "Score a trained model on the documents held out.",
    "plan": "Predict a recipe's memory before it runs, and what fits.",
    "report": "Draw loss, memory and samples of runs as HTML and PNG.",
    "recipes": "List the bundled recipes, or print one.",
    "checkpoint": "List, verify, export or prune checkpoints.",
    "environment": "Show versions and device, for a bug report.",
}
"""A command's name, which is its module in revlm.cli and the function there, and its line in the help."""

# Plain help: the rich one takes longer to import than all the rest.
_STYLE: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}


class LazyCommands(TyperGroup):
    """A group whose help comes from the table, and whose commands are imported one at a time."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """The names of the commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """The command of that name, from its module; None where the table has none."""
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The command that the arguments name; an unknown name is answered with the nearest ones."""
        self.commands = cast(Any, dict.fromkeys(COMMANDS))  # the names that suggestions are made from
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the table into the help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(name="revlm", cls=LazyCommands, **_STYLE)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"revlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Add the traceback to an error.")] = False,
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
    """The exit code of the command line that it runs, by default this process's; an error is one sentence."""
    _let_waiting_threads_sleep()
    _let_segments_grow()
    arguments, debug = _without_debug(sys.argv[1:] if arguments is None else arguments)
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
                print(f"revlm: {_speaker()}{failure.sentence}", file=sys.stderr)
            return failure.exit_code


def _run(arguments: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    try:
        # With colour, typer hands texts on as they are, and the guard of the streams alone decides what is printed.
        context = command.make_context("revlm", list(arguments) or ["--help"], color=True)
        with safe_path_in_children(), context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _let_waiting_threads_sleep() -> None:
    """Bounds how long PyTorch's threads spin where they wait for each other, unless the user decides it.

    libgomp's default, a millisecond and more, is harmless alone on a machine; beside other work a waiting thread
    keeps the core from the very thread that it waits for, and training was seen to slow down 20 times. Read when
    PyTorch is loaded.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"


def _speaker() -> str:
    """Which of several processes speaks, where it is not the first."""
    try:
        launch = launch_of(os.environ)
    except UsageError:
        return ""
    return "" if launch.is_first else f"{launch.name}: "


def _let_segments_grow() -> None:
    """Lets PyTorch's allocator on CUDA grow its segments in place, unless the user decides it.

    Tensors of examples of changing lengths leave gaps between fixed segments, which nothing longer fits into. Read
    when PyTorch is loaded or CUDA first used.
    """
    if sys.platform == "linux" and not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys():
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without --debug, which may stand anywhere before `--`, and whether it was there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"]
    return [*kept, *arguments[end:]], len(kept) < end


def _load(name: str) -> Any:
    """The command of the module revlm.cli.<name>: its function of that name, or its own `app` of commands."""
    module = import_module(f"revlm.cli.{name}")
    commands = getattr(module, "app", None)
    if commands is None:
        function = getattr(module, name)
        commands = typer.Typer(**_STYLE)
        commands.command(name, help=_with_examples_as_written(function.__doc__))(function)
    return typer.main.get_command(commands)


def _with_examples_as_written(docstring: str) -> str:
    """Marks indented paragraphs of a docstring, which are examples, to keep their lines in the help."""
    paragraphs = re.split(r"\n\s*\n", cleandoc(docstring))
    return "\n\n".join(
        f"\b\n{paragraph}" if re.search(r"^\s", paragraph, re.MULTILINE) else paragraph for paragraph in paragraphs
    )
