"""The sections on training: optimizer, schedule, loop, evaluation, checkpoints, logging and memory."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from revlm.recipe.section import Count, Device, Every, RecipePath, Section, Share, Size

LoggingBackend = Literal["console", "jsonl", "tensorboard", "trackio", "wandb"]
Prompt = Annotated[str, StringConstraints(min_length=1)]


def _tile(value: object) -> object:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError("should be auto or a number of tokens from 1 up")


class Optimizer(Section):
    """How gradients become updates."""

    name: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: Muon for the matrices of the layers and AdamW for the rest, with one learning rate"""
    lr: Annotated[float, Field(gt=0, le=10)] = 3e-4
    """the highest learning rate, at the end of the warm-up"""
    betas: Annotated[tuple[Share, Share], Field(strict=False)] = (0.9, 0.95)
    """decay of AdamW's two running means"""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """added to the square root of the second mean"""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.1
    """decoupled weight decay of the matrices"""
    sharded: bool = False
    """under torchrun and srun, keep only a shard of AdamW's state on each rank"""

    @model_validator(mode="after")
    def _state_can_be_sharded(self) -> Self:
        if self.sharded and self.name != "adamw":
            raise ValueError(f"sharded should be false with {self.name}: only the state of adamw can be sharded")
        return self


class LearningRateScheduler(Section):
    """The learning rate over the run."""

    name: Literal["cosine", "wsd", "constant"] = "cosine"
    """after a linear warm-up: cosine (half a cosine to the end), wsd (stable, then a linear decay at the end) or
    constant"""
    warmup_steps: Every = 100
    """steps until the learning rate reaches optimizer.lr; 0: no warm-up"""
    decay_steps: Every = 100
    """for wsd: steps of the decay at the end of the run; fewer if the warm-up leaves no room"""
    min_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """the share of optimizer.lr that cosine and wsd decay to"""


class Train(Section):
    """The loop."""

    start_from: RecipePath | None = None
    """run, checkpoint folder or exported folder whose weights, tokenizer and number of buckets the run starts with;
    ignored once the run has a checkpoint"""
    max_steps: Count = 2000
    """optimizer steps of the whole run"""
    gradient_accumulation_steps: Count = 1
    """examples of one optimizer step, over all ranks: under torchrun and srun each rank takes its share of them, so
    that any number of ranks takes the same steps"""
    sequence_parallel: Annotated[int, Field(ge=1, le=1024)] = 1
    """ranks that share each example, under torchrun and srun, so that each holds a part of its tokens; divides
    model.n_heads and the number of ranks"""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """gradients with a larger norm are scaled down to this one"""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """precision of matrix products, or auto: bf16 where the device multiplies it natively, else fp32; weights are
    always fp32"""
    device: Device = "auto"
    """auto (cuda if available), cpu, cuda or cuda:N"""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """on a loss, stream or gradient that is not finite: stop the run, or skip the update of that step"""
    max_skipped: Count = 10
    """maximum skipped steps of the whole run; one more ends it"""
    tile: Annotated[int | Literal["auto"], BeforeValidator(_tile)] = "auto"
    """tokens per tile of the token-wise layers, or auto (derived from the shapes)"""


class Evaluate(Section):
    """Evaluation during training."""

    every: Every = 200
    """steps between evaluations; 0: never"""
    max_tokens: Count | None = None
    """held-out tokens scored at each evaluation; null: all"""
    prompts: Annotated[tuple[Prompt, ...], Field(strict=False)] | None = None
    """prompts continued at each evaluation: texts, or picture files whose last rows are sampled; null: "It was", or the
    first four held-out pictures"""
    sample_tokens: Count = 64
    """tokens of each sample; of a picture, as many whole rows as they make up, at least one"""
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.8
    """temperature of the samples; 0: always the likeliest token"""


class Checkpoint(Section):
    """When checkpoints are saved, and which are kept."""

    every: Every = 200
    """steps between checkpoints; 0: never before the end"""
    every_minutes: Annotated[float, Field(ge=0)] = 0.0
    """minutes between checkpoints, in addition to `every`; 0: never"""
    keep_last: Count = 3
    """number of newest checkpoints to keep"""
    keep_every: Every = 0
    """steps between checkpoints that are never pruned; 0: none"""


class Logging(Section):
    """Where records are logged."""

    every: Every = 1
    """steps between console lines, 0: none; the journal always has every step"""
    backends: Annotated[tuple[LoggingBackend, ...], Field(strict=False)] = ("console", "jsonl")
    """console: the terminal; jsonl: metrics.jsonl in the run folder, required to resume and to report; tensorboard:
    tensorboard/ in the run folder (pip install revlm[tensorboard]); trackio: its database on this machine
    (pip install revlm[trackio]); wandb: wandb/ in the run folder, or its server with WANDB_MODE=online
    (pip install revlm[wandb])"""

    @model_validator(mode="after")
    def _journal_is_written(self) -> Self:
        if "jsonl" not in self.backends:
            raise ValueError("backends should contain jsonl: resume and report read it")
        return self


class Memory(Section):
    """Memory limits, and what happens when memory runs out."""

    snapshot_on_oom: bool = True
    """when CUDA runs out of memory, write a snapshot into the run folder"""
    limit: Size = None
    """maximum memory that a process of the run may plan for, such as 4GB or 4GiB; null: what the device has"""
