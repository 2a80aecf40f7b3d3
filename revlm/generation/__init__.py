"""Loads trained models and generates text with them."""

from revlm.generation.decoding import Decoder
from revlm.generation.generate import beyond_training, continue_text, generate
from revlm.generation.loading import TrainedModel, load_model
from revlm.generation.sampling import Sampling
from revlm.generation.text_stream import TextStream
from revlm.generation.writing import SampledToken, Throughput, Writing

__all__ = [
    "Decoder",
    "SampledToken",
    "Sampling",
    "TextStream",
    "Throughput",
    "TrainedModel",
    "Writing",
    "beyond_training",
    "continue_text",
    "generate",
    "load_model",
]
