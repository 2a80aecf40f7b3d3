"""Trained models, and text from them."""

from revlm.generation.decoding import Decoder
from revlm.generation.generate import Sampling, continue_text, continue_tokens, generate
from revlm.generation.loading import TrainedModel, load_model

__all__ = ["Decoder", "Sampling", "TrainedModel", "continue_text", "continue_tokens", "generate", "load_model"]
