"""Trained models, and text from them."""

from revlm.generation.decoding import Decoder
from revlm.generation.generate import beyond_training, continue_text, generate
from revlm.generation.loading import TrainedModel, load_model
from revlm.generation.sampling import Sampling
from revlm.generation.text_stream import TextStream
from revlm.generation.writing import Drawn, Throughput, Writing

__all__ = [
    "Decoder",
    "Drawn",
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
