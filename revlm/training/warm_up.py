"""Compiles the kernels that a run uses before its first step, which would otherwise stop for each of them.

Those of attention are also tuned to the card, where an earlier run has not done so.
"""

import time
from collections.abc import Callable

import torch

from revlm.model import RevLM
from revlm.model.precision import autocast
from revlm.ops import backends

_DOCUMENTS = 2
# Tokens of an example on a card: in a shorter one a kernel's time would be that of its launch.
_CUDA_TOKENS = 2**15


def warm_up(model: RevLM, precision: str, message: Callable[[str], object]) -> None:
    """Runs the model forward and backward on a short example, where it runs on Triton; nothing of it remains.

    Kernels are not specialized on the number of tokens, so they are those of every example of the run.
    """
    device = model.embedding.weight.device
    if backends.chosen(device) != "triton":
        return
    message("compiling kernels, or loading those compiled before ...")
    start = time.perf_counter()
    from revlm.ops.triton.tuning import tuning

    with autocast(precision, device), tuning():
        _compute_gradients(model)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    message(f"the kernels are ready after {time.perf_counter() - start:,.0f} s")


def _compute_gradients(model: RevLM) -> None:
    """Computes the gradients of an example that is longer than a block and a window, and discards them."""
    device = model.embedding.weight.device
    tokens = _DOCUMENTS * max(64, model.recipe.attention_block, model.recipe.window)
    if device.type == "cuda":
        tokens = max(tokens, _CUDA_TOKENS)
    inputs = torch.arange(tokens, dtype=torch.int32, device=device) % model.vocab_size
    document_ids = torch.arange(_DOCUMENTS, dtype=torch.int32, device=device).repeat_interleave(tokens // _DOCUMENTS)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    hidden = model(inputs, document_ids, step=0, with_statistics=True)
    torch.autograd.grad(model.loss(hidden, inputs), parameters, allow_unused=True)
