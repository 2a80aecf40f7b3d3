"""`revlm generate`: streams the continuation of a prompt."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

# From about this many tokens, running the whole text again for each token takes minutes.
SLOW_TOKENS = 2048


def generate(
    prompt: Annotated[str, typer.Option(help="text to continue")],
    run: Annotated[Path | None, typer.Option(help="run folder; by default the newest under ./runs")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="tokens to write")] = 256,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token")] = 0.8,
    top_k: Annotated[int, typer.Option(help="draw from so many likeliest tokens; 0: all")] = 0,
    top_p: Annotated[float, typer.Option(help="draw from the likeliest tokens of this share together")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same text")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object at the end, no stream")] = False,
) -> None:
    """Continue a prompt with a trained model, streaming the text.

    Every token runs the whole text again, so that long texts are slow.

    Example: revlm generate --prompt "It was" --max-tokens 100
    """
    from revlm.generation import Sampling, continue_text, load_model
    from revlm.runs import newest_run

    sampling = Sampling(temperature, top_k, top_p)
    trained = load_model(newest_run().path if run is None else run, device)
    prompt_tokens = len(trained.tokenizer.encode(prompt))
    if prompt_tokens + max_tokens >= SLOW_TOKENS:
        typer.echo(
            f"{max_tokens:,} tokens after a prompt of {prompt_tokens:,}: each runs the whole text again, "
            "so this is slow, and slower towards the end",
            err=True,
        )
    start = time.perf_counter()
    pieces = []
    if not as_json:
        typer.echo(prompt, nl=False)
    for piece in continue_text(trained, prompt, max_tokens=max_tokens, sampling=sampling, seed=seed):
        pieces.append(piece)
        if not as_json:
            typer.echo(piece, nl=False)
    seconds = time.perf_counter() - start
    written = len(pieces) - 1  # the last piece is of no token
    if as_json:
        result = {"prompt": prompt, "text": "".join(pieces), "tokens": written, "seed": seed, "seconds": seconds}
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        typer.echo("")
    typer.echo(f"{written:,} tokens in {seconds:.1f} s, {written / seconds:.1f} tokens/s", err=True)
