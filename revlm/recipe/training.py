"""The sections that say how a run trains, what it looks at meanwhile, and what it keeps."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from revlm.recipe.section import Count, Device, Every, Section, Share, Size

LoggingBackend = Literal["console", "jsonl", "tensorboard", "trackio"]
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
    """decay of the two running means of AdamW"""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """added to the root of the second mean"""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.1
    """decoupled weight decay of the matrices"""
    sharded: bool = False
    """under torchrun and srun, keep of adamw's state in each process its part alone"""

    @model_validator(mode="after")
    def _state_can_be_shared_out(self) -> Self:
        if self.sharded and self.name != "adamw":
            raise ValueError(f"sharded should be false with {self.name}: only the state of adamw is shared out")
        return self


class LearningRateScheduler(Section):
    """The learning rate over the run."""

    name: Literal["cosine"] = "cosine"
    """linear warm-up, then half a cosine"""
    warmup_steps: Every = 100
    """steps until the learning rate reaches optimizer.lr; 0: the first step has it"""
    min_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """the share of optimizer.lr that the learning rate falls to at the end"""


class Train(Section):
    """The loop."""

    max_steps: Count = 2000
    """optimizer steps of the whole run"""
    gradient_accumulation_steps: Count = 1
    """examples whose gradients make one step, of all processes together: under torchrun and srun each takes its part of
    them, so that any number of processes takes the same steps"""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """norm that larger gradients are scaled down to"""
    precision: Literal["bf16", "fp32"] = "bf16"
    """of the matrix products; weights are fp32 either way"""
    device: Device = "auto"
    """auto (cuda where there is one), cpu, cuda or cuda:N"""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """what a loss, stream or gradient that is not finite does: end the run, or pass over the step without an update"""
    max_skipped: Count = 10
    """steps of the whole run that may be passed over; one more ends it"""
    tile: Annotated[int | Literal["auto"], BeforeValidator(_tile)] = "auto"
    """tokens of one tile of the token-wise layers, or auto (derived from the shapes)"""


class Evaluate(Section):
    """What is looked at while training."""

    every: Every = 200
    """steps between evaluations; 0: never"""
    max_tokens: Count | None = None
    """held-out tokens scored at each; null: all"""
    samples: Annotated[tuple[Prompt, ...], Field(strict=False)] = ("It was",)
    """prompts that are continued at each"""
    sample_tokens: Count = 64
    """tokens of each sample"""
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.8
    """of the samples; 0: always the likeliest token"""


class Checkpoint(Section):
    """What is kept to go on from."""

    every: Every = 200
    """steps between checkpoints; 0: never before the end"""
    every_minutes: Annotated[float, Field(ge=0)] = 0.0
    """minutes after which one is saved, beside `every`; 0: never"""
    keep_last: Count = 3
    """newest checkpoints that are kept"""
    keep_every: Every = 0
    """every so many steps a checkpoint is saved that is kept for ever; 0: never"""


class Logging(Section):
    """Where step records go."""

    every: Every = 1
    """steps between lines of the console, 0: never; the journal holds every step"""
    backends: Annotated[tuple[LoggingBackend, ...], Field(strict=False)] = ("console", "jsonl")
    """console: the terminal; jsonl: metrics.jsonl of the run folder, which resume and report need; tensorboard: the
    run folder's tensorboard/ (pip install revlm[tensorboard]); trackio: its database on this machine
    (pip install revlm[trackio])"""

    @model_validator(mode="after")
    def _journal_is_written(self) -> Self:
        if "jsonl" not in self.backends:
            raise ValueError("backends should contain jsonl: resume and report read it")
        return self


class Memory(Section):
    """Limits, and what happens beyond them."""

    snapshot_on_oom: bool = True
    """on CUDA out of memory, write a snapshot into the run folder"""
    limit: Size = None
    """most memory that a process of a run may plan for, such as 4GB or 4GiB; null: what the machine has"""
