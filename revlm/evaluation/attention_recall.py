"""Recall of hash attention: the share of exact attention's weight on the keys that a hash layer attends to.

For a query at position t of a document, exact attention weighs the earlier positions s by the softmax over all s < t of
`scale * <k[t], k[s]>`, with the layer's own queries, keys and scale, without window and sink. `found` is the weight on
S(t), the keys in the windows of the query's buckets; `best` is the weight on the best choice of as many keys; `chance`
is the expected weight on as many random keys, which is their share of the earlier positions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from revlm.evaluation.scorer import Scorer
from revlm.evaluation.texts import Text
from revlm.model import Context, RevLM
from revlm.model.kinds.lsh import HashAttention
from revlm.records import LayerRecall, Recall

# Queries that are drawn from a text; each needs a row of weights over all tokens for every head.
QUERIES = 128
# Weights in memory at one time: 16 MiB in float32.
_CHUNK_ELEMENTS = 2**22


def measure_recall(
    scorer: Scorer,
    texts: Sequence[Text],
    *,
    queries: int = QUERIES,
    seed: int = 0,
    progress: Callable[[str], object] = lambda message: None,
) -> Recall:
    """Returns the recall of each hash layer over queries drawn from each text, each text in one pass."""
    generator = np.random.default_rng(seed)
    sampled: dict[int, list[Tensor]] = {layer: [] for layer in scorer.model.hash_layers}
    n_queries = 0
    for text in texts:
        if len(text) < 2 or not sampled:
            continue
        progress(f"recall: {text.title}")
        drawn = 1 + generator.choice(len(text) - 1, size=min(queries, len(text) - 1), replace=False)
        n_queries += len(drawn)
        position = torch.from_numpy(np.sort(drawn)).to(scorer.device)
        handles = [_record_recall(scorer.model, layer, position, found) for layer, found in sampled.items()]
        try:
            scorer.hidden(text.inputs(len(text)))
        finally:
            for handle in handles:
                handle.remove()
    keys = ("found", "best", "chance", "keys")
    layers = [
        LayerRecall(layer=layer, **dict(zip(keys, torch.cat(shares, dim=1).double().mean(dim=1).tolist(), strict=True)))
        for layer, shares in sampled.items()
        if shares
    ]
    return Recall(queries=n_queries, tokens=sum(map(len, texts)), layers=layers)


def _record_recall(model: RevLM, layer: int, position: Int[Tensor, "queries"], found: list[Tensor]) -> Any:
    """Adds the layer's recall in its next forward pass to `found`; returns the hook's handle."""

    def record(mix: nn.Module, read: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        assert isinstance(mix, HashAttention)
        context = options["context"]
        assert isinstance(context, Context)
        k = mix.keys(read[0], context).detach()
        bucket, scale = mix.buckets(k, context), mix.temperature()
        for head in range(k.shape[0]):
            found.append(recall_of_queries(k[head].float(), bucket[head], position, mix.window, float(scale[head])))

    mix = model.attention(layer).mix
    assert mix is not None
    return mix.register_forward_pre_hook(record, with_kwargs=True)


def recall_of_queries(
    k: Float[Tensor, "tokens head_dim"],
    bucket: Int[Tensor, "rounds tokens"],
    position: Int[Tensor, "queries"],
    window: int,
    scale: float,
) -> Float[Tensor, "4 queries"]:
    """Returns (found, best, chance, keys) for queries of one head in one document; positions are at least 1."""
    rows = max(1, _CHUNK_ELEMENTS // k.shape[0])
    parts = []
    with torch.autocast(k.device.type, enabled=False):
        for chunk in position.split(rows):
            seen = _seen_keys(bucket, chunk, window)
            earlier = torch.arange(k.shape[0], device=k.device) < chunk[:, None]
            weight = (scale * (k[chunk] @ k.T)).masked_fill(~earlier, -torch.inf).softmax(dim=-1)
            keys = seen.sum(dim=-1)
            largest = weight.topk(int(keys.max()), dim=-1).values.cumsum(dim=-1)
            best = nn.functional.pad(largest, (1, 0)).gather(1, keys[:, None])[:, 0]
            parts.append(torch.stack([(weight * seen).sum(dim=-1), best, keys / chunk, keys.float()]))
    return torch.cat(parts, dim=1)


def _seen_keys(
    bucket: Int[Tensor, "rounds tokens"], position: Int[Tensor, "queries"], window: int
) -> Bool[Tensor, "queries tokens"]:
    """Returns which positions are in S(t): in some round, among the `window` latest earlier ones of the bucket."""
    earlier = torch.arange(bucket.shape[1], device=bucket.device) < position[:, None]
    seen = torch.zeros_like(earlier)
    for of_round in bucket:
        alike = (of_round == of_round[position][:, None]) & earlier
        from_here_on = alike.flip(-1).cumsum(dim=-1, dtype=torch.int32).flip(-1)
        seen |= alike & (from_here_on <= window)
    return seen
