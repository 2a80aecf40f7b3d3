"""The planned memory of a training step, as plan.json holds it."""

from typing import Annotated

from pydantic import Field

from revlm.records.record import MAX_ENTRIES, Count, Positive, Record

_Name = Annotated[str, Field(max_length=200)]


class MemoryPlan(Record):
    """The planned memory of a training step after the first.

    Attributes:
        seq_len: tokens of an example.
        peaks: for each phase, the bytes of each category at its peak, excluding `process_bytes`.
        process_bytes: what the process holds before there is a model, on the same device.
        categories: the label of each category.
        sequence_parallel: the number of ranks that share an example.
        sent_bytes: what one rank sends to others in a step.
    """

    seq_len: Positive
    process_bytes: Count
    peaks: dict[_Name, Annotated[dict[_Name, Count], Field(max_length=MAX_ENTRIES)]] = Field(max_length=MAX_ENTRIES)
    categories: dict[_Name, _Name] = Field(max_length=MAX_ENTRIES)
    sequence_parallel: Positive
    sent_bytes: Count

    def phase_bytes(self, phase: str) -> int:
        """Returns the peak of a phase, excluding `process_bytes`."""
        return sum(self.peaks[phase].values())

    @property
    def fullest_phase(self) -> str:
        """The phase with the highest peak."""
        return max(self.peaks, key=self.phase_bytes)

    @property
    def peak_bytes(self) -> int:
        """The peak of the step, excluding `process_bytes`."""
        return self.phase_bytes(self.fullest_phase)

    @property
    def total_bytes(self) -> int:
        """The peak of the step, including `process_bytes`: the number that is compared with a limit."""
        return self.process_bytes + self.peak_bytes

    @property
    def largest_category(self) -> tuple[str, int]:
        """The label and the bytes of the largest category at the step's peak."""
        at_peak = self.peaks[self.fullest_phase]
        category = max(at_peak, key=lambda name: at_peak[name])
        return self.categories[category], at_peak[category]
