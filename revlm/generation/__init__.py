"""Loads trained models and generates texts, bytes and pictures with them."""

from revlm.generation.decoding import Decoder
from revlm.generation.generate import continue_bytes, continue_text, generate, generate_bytes, long_prompt_notice
from revlm.generation.loading import Reading, TrainedModel, load_model
from revlm.generation.pictures import first_rows, generate_pictures, picture_prompt, sample_pictures
from revlm.generation.samples import Sample, draw_samples
from revlm.generation.sampling import Sampling
from revlm.generation.text_generator import SampledToken, TextGenerator, Throughput
from revlm.generation.text_stream import TextStream

__all__ = [
    "Decoder",
    "Reading",
    "Sample",
    "SampledToken",
    "Sampling",
    "TextGenerator",
    "TextStream",
    "Throughput",
    "TrainedModel",
    "continue_bytes",
    "continue_text",
    "draw_samples",
    "first_rows",
    "generate",
    "generate_bytes",
    "generate_pictures",
    "load_model",
    "long_prompt_notice",
    "picture_prompt",
    "sample_pictures",
]
