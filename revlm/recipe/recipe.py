"""The recipe as a whole."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from revlm.recipe.data import Data
from revlm.recipe.model import Model
from revlm.recipe.section import RecipePath, Section
from revlm.recipe.training import Checkpoint, Evaluate, LearningRateScheduler, Logging, Memory, Optimizer, Train
from revlm.recipe.yaml_text import write_yaml


class Recipe(Section):
    """A training run: every key has a value, and nothing changes after loading."""

    output_dir: RecipePath
    """the run folder; by default runs/<name of the recipe file>"""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 42
    """seed of weights, hashes, dropout and the order of documents"""
    model: Model = Model()
    data: Data
    optimizer: Optimizer = Optimizer()
    lr_scheduler: LearningRateScheduler = LearningRateScheduler()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()
    logging: Logging = Logging()
    memory: Memory = Memory()

    @model_validator(mode="after")
    def _ranks_share_the_heads(self) -> Self:
        heads, ranks = self.model.n_heads, self.train.sequence_parallel
        if heads % ranks:
            raise ValueError(
                f"train.sequence_parallel {ranks} should divide model.n_heads {heads}: the ranks that share an example "
                "share its heads"
            )
        return self

    def to_yaml(self) -> str:
        """The resolved recipe as YAML with every key; `load_recipe` reads it as an equal recipe."""
        return write_yaml(self.model_dump(mode="json"))
