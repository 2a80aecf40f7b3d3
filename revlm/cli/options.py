"""Options and arguments that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from revlm.storage.paths import user_path, user_text

if TYPE_CHECKING:
    from revlm.runs import RunFolder


def _path(text: str | Path) -> Path:
    try:
        return user_path(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _text(text: str) -> str:
    try:
        return text if text.startswith("hf:") else user_text(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


STYLE: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}
"""For every `typer.Typer`: plain help, since rich's takes longer to import than everything else."""
PATH: dict[str, Any] = {"parser": _path}
"""For an option or argument that is a path: `typer.Option(**PATH)`."""
CORPUS: dict[str, Any] = {"parser": _text}
"""For one that is a path, a pattern of paths, a hub dataset or a keyword."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Recipe file, or name of a bundled recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe, such as data.seq_len=131072.", show_default=False),
]
Run = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", **PATH, help="Run folder; default: the latest under ./runs.")
]
Step = Annotated[
    int | None, typer.Option("--step", metavar="N", help="Step of the checkpoint; default: the newest intact one.")
]
Rounds = Annotated[
    int | None,
    typer.Option(
        "--rounds",
        metavar="N",
        help="Rounds of hashing: more find more of what is far, and take longer. Default: the model's own.",
    ),
]
Buckets = Annotated[
    int | None,
    typer.Option(
        "--buckets",
        metavar="N",
        help="Buckets of the finest rounds: more find more of what is far in a document longer than those of training. "
        "Default: the model's own.",
    ),
]
AttentionScale = Annotated[
    float | None,
    typer.Option(
        "--attention-scale",
        metavar="F",
        help="Factor of the attention logits of layers lsh and full. For a document longer than those of training: "
        "log(its tokens) / log(tokens of a training example). Default: 1.",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="Device: auto, cpu, cuda or cuda:N.")]
Deduplicate = Annotated[
    bool, typer.Option("--deduplicate", help="Leave out texts that are in the store already, even as another edition.")
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Verify the sha256 of every document's text, not only of every file.")
]


def open_run(run: Path | None) -> "RunFolder":
    """The run of the option `Run`; raises StorageError if there is none."""
    from revlm.runs import RunFolder, newest_run

    return newest_run() if run is None else RunFolder.open(run)
