"""The floating-point operations that training on documents needs by the definition of the model."""

from collections import Counter
from collections.abc import Iterable

from torch import nn

from revlm.model.kinds import KINDS
from revlm.model.revlm import RevLM


def training_flops(model: RevLM, document_tokens: Iterable[int]) -> int:
    """Returns the FLOPs of a forward and a backward pass over documents, given the tokens of each.

    A multiplication and an addition are two. They are 6 for each token and each weight that it is multiplied by, which
    includes the head and not the embedding (Kaplan et al., arXiv 2001.08361, section 2.1), and those of attention,
    which each kind counts (`revlm.model.kinds`). What is computed again to save memory does not count, nor do
    norms, rotary positions, activations and the optimizer.
    """
    of_layers = sum(each.weight.numel() for each in model.stack.modules() if isinstance(each, nn.Linear))
    weights = of_layers + model.head_weight.numel()
    layers = Counter(model.kinds)
    return sum(
        documents
        * (6 * weights * tokens + sum(layers[kind] * KINDS[kind].flops(model.recipe, tokens) for kind in layers))
        for tokens, documents in Counter(document_tokens).items()
    )
