"""The records of a run as typed values: one class for each kind of line in `metrics.jsonl`.

Every value but the step may be absent: older runs did not write all of them, and a run on the CPU has no
reserved memory. What a newer version adds is passed over.
"""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record; a string is never taken for a number."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class LayerUse(Record):
    """How one hash layer used its buckets in one step."""

    layer: int | None = None
    bucket_fill: float | None = None
    empty_query_share: float | None = None
    sink_share: float | None = None


class Step(Record):
    """One training step: sums over the step, losses in nats a token, memory in absolute bytes."""

    step: int
    epoch: int | None = None
    tokens: int | None = None
    documents: int | None = None
    loss: float | None = None
    bits_per_byte: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    seconds: float | None = None
    tokens_per_second: float | None = None
    data_seconds: float | None = None
    memory_baseline_bytes: int | None = None
    memory_forward_peak_bytes: int | None = None
    memory_backward_peak_bytes: int | None = None
    memory_optimizer_peak_bytes: int | None = None
    memory_peak_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    stream_max: float | None = None
    layers: list[LayerUse] | None = None
    skipped: str | None = None


class Evaluation(Record):
    """One pass over the held-out documents after a step."""

    step: int
    loss: float | None = None
    bits_per_byte: float | None = None
    tokens: int | None = None
    documents: int | None = None
    seconds: float | None = None


class Sample(Record):
    """What the model wrote after `prompt`, after a step."""

    step: int
    prompt: str
    text: str


class Plan(Record):
    """The planned memory of a step: for each phase, the bytes of each category at its peak, and the words for them.

    All bytes are beyond what the process holds before there is a model.
    """

    seq_len: int
    peaks: dict[str, dict[str, int]]
    categories: dict[str, str]
