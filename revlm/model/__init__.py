"""The model: embedding, a reversible stack of attention and feed-forward layers, a tied head."""

from revlm.model.flops import training_flops
from revlm.model.modes import evaluating
from revlm.model.parts.context import Context, LayerStatistics
from revlm.model.parts.whitening import with_key_moments
from revlm.model.revlm import RevLM
from revlm.model.shape import automatic_buckets, resolve_model, tile_tokens

__all__ = [
    "Context",
    "LayerStatistics",
    "RevLM",
    "automatic_buckets",
    "evaluating",
    "resolve_model",
    "tile_tokens",
    "training_flops",
    "with_key_moments",
]
