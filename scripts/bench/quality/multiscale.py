"""The Multiscale Byte Language Model of the package `mblm`: a transformer over patches, one over the bytes of each."""

import math

import numpy as np
import torch
from mblm import MBLM, MBLMModelConfig, MBLMReturnType, TransformerBlock

from bench.quality.optimizing import adamw, descend, muon_with_adamw
from bench.quality.texts import Texts, windows

_PAD = 256


class Learner:
    """See `bench.quality.training.Learner`.

    `widths`, `layers` and `places` are those of both stages, from the global to the local one; a sequence holds
    `places[0] * places[1]` bytes.
    """

    def __init__(
        self,
        texts: Texts,
        seed: int,
        optimizer: str,
        batch: int,
        widths: tuple[int, int],
        layers: tuple[int, int],
        places: tuple[int, int],
    ) -> None:
        torch.manual_seed(seed)
        self.texts, self.batch, self.context = texts, batch, places[0] * places[1]
        blocks = [
            TransformerBlock(
                attn_head_dims=32,
                attn_num_heads=width // 32,
                attn_use_rot_embs=True,
                ff_multiplier=4,
                use_flash_attn=True,
                pos_emb_type=None,
            )
            for width in widths
        ]
        self.model = MBLM(
            MBLMModelConfig(
                num_tokens=_PAD + 1,
                pad_token_id=_PAD,
                hidden_dims=list(widths),
                num_layers=list(layers),
                seq_lens=list(places),
                train_checkpoint_chunks=None,
                block=blocks,
            )
        )
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self._draw = np.random.default_rng(seed)
        muon = optimizer == "muon"
        self.optimizers = muon_with_adamw(self.model, _is_hidden) if muon else adamw(self.model)

    def update(self, learning_rate: float) -> int:
        """Learns from a batch of random pieces."""
        text = self.texts.train_bytes
        starts = self._draw.integers(len(text) - self.context + 1, size=self.batch)
        pieces = np.stack([text[start : start + self.context] for start in starts])
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.model.forward(torch.from_numpy(pieces).long(), return_type=MBLMReturnType.LOSS)
        descend(self.model, loss, self.optimizers, learning_rate)
        return pieces.size

    @torch.no_grad()
    def held_out_nats(self) -> float:
        """Each byte is scored once, with half a sequence before it at least; the very first counts as a guess."""
        text, total = torch.from_numpy(np.array(self.texts.held_out_bytes)).long(), math.log(256)
        for start, stop, first in windows(len(text) - 1, self.context):
            with torch.autocast("cpu", torch.bfloat16):
                logits = self.model.forward(text[None, start:stop], return_type=MBLMReturnType.LOGITS)[0]
            # The logits of a place are those of the byte after it.
            losses = torch.nn.functional.cross_entropy(
                logits[first - start :].float(), text[first + 1 : stop + 1], reduction="none"
            )
            total += float(losses.double().sum())
        return total


def _is_hidden(name: str) -> bool:
    return name.startswith(("stage_models.", "to_next_stage_proj."))
