"""A plain transformer with a short context, as one would write it today: RMSNorm, rotary positions, QK-norm, Muon.

Of the width, depth and number of weights of the recipe `novels`. It trains on batches of random pieces of the text.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, rms_norm, scaled_dot_product_attention

from bench.quality.optimizing import descend, muon_with_adamw
from bench.quality.texts import Texts, windows

WIDTH, LAYERS, HEADS, INNER = 128, 4, 4, 512


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.q, self.k, self.v, self.write = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.widen, self.narrow = nn.Linear(WIDTH, INNER, bias=False), nn.Linear(INNER, WIDTH, bias=False)
        for last in (self.write, self.narrow):
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        y = self.attention_norm(x)
        q, k, v = (read(y).unflatten(-1, (HEADS, -1)).transpose(1, 2) for read in (self.q, self.k, self.v))
        q, k = (_rotated(rms_norm(part, part.shape[-1:]), cosines, sines) for part in (q, k))
        mixed = scaled_dot_product_attention(q, k.to(v.dtype), v, is_causal=True)
        x = x + self.write(mixed.transpose(1, 2).flatten(2))
        return x + self.narrow(gelu(self.widen(self.feed_forward_norm(x))))


class Transformer(nn.Module):
    """Returns the logits of each token [batch, tokens, vocabulary]; the head is the embedding."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, vocabulary: int, context: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(_Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH)
        half = WIDTH // HEADS // 2
        angles = torch.arange(context)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cosines", angles.cos())
        self.register_buffer("sines", angles.sin())

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.embedding(inputs)
        tokens = inputs.shape[1]
        for block in self.blocks:
            x = block(x, self.cosines[:tokens], self.sines[:tokens])
        return self.norm(x) @ self.embedding.weight.T


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    one, other = x.chunk(2, dim=-1)
    rotated = (one * cosines - other * sines, one * sines + other * cosines)
    return torch.cat(rotated, dim=-1).to(x.dtype)


class Learner:
    """See `bench.quality.training.Learner`."""

    def __init__(self, texts: Texts, seed: int, context: int, batch: int) -> None:
        torch.manual_seed(seed)
        self.texts, self.context, self.batch = texts, context, batch
        self.model = Transformer(texts.vocab_size, context)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self._draw = np.random.default_rng(seed)
        self.optimizers = muon_with_adamw(self.model, lambda name: name.startswith("blocks."))

    def update(self, learning_rate: float) -> int:
        """Learns from a batch of random pieces."""
        starts = self._draw.integers(len(self.texts.train_tokens) - self.context, size=self.batch)
        pieces = np.stack([self.texts.train_tokens[start : start + self.context + 1] for start in starts])
        losses = self._losses(torch.from_numpy(pieces).long())
        descend(self.model, losses.mean(), self.optimizers, learning_rate)
        return round(losses.numel() * self.texts.bytes_per_token)

    @torch.no_grad()
    def held_out_nats(self) -> float:
        """Each token is scored once, with half a context before it at least."""
        tokens, total = torch.from_numpy(np.array(self.texts.held_out_tokens)).long(), 0.0
        for start, stop, first in windows(len(tokens) - 1, self.context):
            losses = self._losses(tokens[None, start : stop + 1])[0, first - start :]
            total += float(losses[tokens[first + 1 : stop + 1] != self.texts.begin_id].double().sum())
        return total

    def _losses(self, pieces: Tensor) -> Tensor:
        """The cross-entropies [batch, tokens] of pieces [batch, 1 + tokens]."""
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(pieces[:, :-1])
        return cross_entropy(logits.float().transpose(1, 2), pieces[:, 1:], reduction="none")
