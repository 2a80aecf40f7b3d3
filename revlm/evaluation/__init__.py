"""How well a model predicts text that it was not trained on."""

from revlm.evaluation.held_out import Score, score

__all__ = ["Score", "score"]
