"""Loads trained models and generates text with them."""

from revlm.generation.decoding import Decoder
from revlm.generation.generate import beyond_training, continue_text, generate
from revlm.generation.loading import TrainedModel, load_model
from revlm.generation.samples import Sample, draw_samples
from revlm.generation.sampling import Sampling
from revlm.generation.text_generator import SampledToken, TextGenerator, Throughput
from revlm.generation.text_stream import TextStream

__all__ = [
    "Decoder",
    "Sample",
    "SampledToken",
    "Sampling",
    "TextGenerator",
    "TextStream",
    "Throughput",
    "TrainedModel",
    "beyond_training",
    "continue_text",
    "draw_samples",
    "generate",
    "load_model",
]
