"""`revlm generate`: streams the continuation of a prompt."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    prompt: Annotated[str, typer.Option(help="text to continue")],
    run: Annotated[Path | None, typer.Option(help="run folder; by default the newest under ./runs")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="tokens to write")] = 256,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token")] = 0.8,
    top_k: Annotated[int, typer.Option(help="draw from so many likeliest tokens; 0: all")] = 0,
    top_p: Annotated[float, typer.Option(help="draw from the likeliest tokens of this share together")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same text")] = 0,
) -> None:
    """Continue a prompt with a trained model, streaming the text.

    Every token runs the whole text again, so that long texts are slow.

    Example: revlm generate --prompt "It was" --max-tokens 100
    """
    from revlm.generation import Sampling
    from revlm.generation import generate as pieces
    from revlm.runs import newest_run

    folder = newest_run().path if run is None else run
    sampling = Sampling(temperature, top_k, top_p)
    for number, piece in enumerate(pieces(prompt, folder, max_tokens=max_tokens, sampling=sampling, seed=seed)):
        # The prompt comes with the first piece: before it, the run may turn out not to be one.
        typer.echo(prompt + piece if number == 0 else piece, nl=False)
    typer.echo("")
