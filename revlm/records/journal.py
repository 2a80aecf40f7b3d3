"""The records of metrics.jsonl, one object a line: the steps of training and the passes over held-out documents."""

from base64 import b64decode
from functools import cached_property
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from revlm.errors import DataError
from revlm.pictures import Pixels, pixels_of
from revlm.records.record import MAX_LAYERS, Count, Layer, Many, Number, Positive, Record

PHASES = ("forward", "backward", "optimizer")
"""The phases of a step whose memory is measured."""


def peak_key(phase: str) -> str:
    """The key of a step that holds the peak memory of a phase."""
    return f"memory_{phase}_peak_bytes"


class LayerUse(Record):
    """How one hash layer used its buckets in one step; the descriptions are the captions in the report."""

    layer: Layer
    bucket_fill: Number | None = Field(description="share of the window that is filled")
    empty_query_share: Number | None = Field(description="share of queries that find no key")
    sink_share: Number | None = Field(description="share of weight that goes to the sink")


class Step(Record):
    """One training step: sums over the step, losses in nats a token, memory in absolute bytes.

    The keys after `memory_peak_bytes` are not in every record. Only CUDA has the next two; a step without an update has
    `skipped` and `skipped_documents`, and a step with an update has the keys after them. `mfu` is
    `model_flops_per_second` as a share of the GPUs' peak, where that is known.
    """

    event: Literal["step"]
    step: Positive
    epoch: Count
    tokens: Count
    documents: Count
    loss: Number | None
    bits_per_byte: Number | None
    learning_rate: Number | None
    grad_norm: Number | None
    seconds: Number | None
    tokens_per_second: Number | None
    data_seconds: Number | None
    memory_baseline_bytes: Count | None
    memory_forward_peak_bytes: Count | None
    memory_backward_peak_bytes: Count | None
    memory_optimizer_peak_bytes: Count | None
    memory_peak_bytes: Count | None
    memory_reserved_bytes: Count | None = None
    memory_allocation_retries: Count | None = None
    skipped: str | None = None
    skipped_documents: Many[str] = Field(default=[])
    model_flops_per_second: Number | None = None
    mfu: Number | None = None
    stream_max: Number | None = None
    bucket_fill: Number | None = None
    empty_query_share: Number | None = None
    sink_share: Number | None = None
    layers: list[LayerUse] = Field(default=[], max_length=MAX_LAYERS)


class Validation(Record):
    """One pass over the held-out documents after a step."""

    event: Literal["evaluate"]
    step: Count
    loss: Number | None
    bits_per_byte: Number | None
    tokens: Count
    documents: Count
    seconds: Number | None


JournalRecord: TypeAlias = Annotated[Step | Validation, Field(discriminator="event")]


class SampledPicture(Record):
    """A picture whose first `rows` were given and whose others were sampled; `document` is its document in base64."""

    document: str
    rows: Count

    @cached_property
    def pixels(self) -> Pixels:
        """The picture, [height, width, channels]."""
        return pixels_of(b64decode(self.document, validate=True))

    @model_validator(mode="after")
    def _has_these_rows(self) -> Self:
        try:
            height = len(self.pixels)
        except (DataError, ValueError) as error:
            raise ValueError("should be the document of a picture, in base64") from error
        if self.rows > height:
            raise ValueError(f"has {height} rows, fewer than the {self.rows} that were given")
        return self


class Sample(Record):
    """The text that continues a prompt, or the completed picture, whose title or file is then the prompt."""

    prompt: str
    text: str
    picture: SampledPicture | None = None


class Samples(Record):
    """The samples of a step, as samples/step-00000200.json holds them."""

    step: Count
    samples: Many[Sample]
