"""Text from a trained model."""

from revlm.generation.generate import Sampling, continue_tokens, generate

__all__ = ["Sampling", "continue_tokens", "generate"]
