"""How well a model predicts text that it was not trained on, and what of it that is due to."""

from revlm.evaluation.documents import PositionLosses, score_document
from revlm.evaluation.held_out import Score, score_example, token_losses
from revlm.evaluation.questions import QUESTIONS, Answers, Questions
from revlm.evaluation.record import evaluation_record
from revlm.evaluation.run import Evaluation, evaluate_run

__all__ = [
    "QUESTIONS",
    "Answers",
    "Evaluation",
    "PositionLosses",
    "Questions",
    "Score",
    "evaluate_run",
    "evaluation_record",
    "score_document",
    "score_example",
    "token_losses",
]
