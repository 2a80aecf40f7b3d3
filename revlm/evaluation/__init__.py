"""How well a model predicts text that it was not trained on."""

from revlm.evaluation.documents import PositionLosses, score_document
from revlm.evaluation.held_out import Score, score_example, token_losses
from revlm.evaluation.run import Evaluation, evaluate_run

__all__ = ["Evaluation", "PositionLosses", "Score", "evaluate_run", "score_document", "score_example", "token_losses"]
