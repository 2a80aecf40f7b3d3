"""What a run writes: a schema for each record, the names of the files, and the one way to read them back.

`runs` and `evaluation` write these records; `report`, `cli` and the trackers read them. The schema of a file is
declared here and nowhere else.

    journal     metrics.jsonl: `Step` and `Validation`, one a line
    plan        plan.json: `MemoryPlan`
    evaluation  evaluation.json: `Evaluation`, with the results of its probes
    files       the names of the files of a run folder
    reading     reads the files; an unreadable one raises one sentence that names it
"""

from revlm.records.evaluation import DocumentScore, Evaluation, PositionLoss, Total
from revlm.records.journal import (
    PHASES,
    JournalRecord,
    LayerUse,
    Sample,
    SampledPicture,
    Samples,
    Step,
    Validation,
    peak_key,
)
from revlm.records.plan import MemoryPlan
from revlm.records.probes import (
    Ablation,
    Ablations,
    AnswerAccuracy,
    Answers,
    ContextGain,
    ContextLoss,
    CopyAccuracy,
    Copying,
    DistanceLoss,
    LayerRecall,
    NeedleDistance,
    NeedleScore,
    NeedleTest,
    PooledLoss,
    Recall,
    Repeats,
    RoundsLoss,
)
from revlm.records.reading import (
    last_records,
    offset_after,
    read_file,
    read_journal,
    read_record,
    read_row_blocks,
    read_rows,
    read_samples,
    whole_bytes,
)
from revlm.records.record import Record

__all__ = [
    "PHASES",
    "Ablation",
    "Ablations",
    "AnswerAccuracy",
    "Answers",
    "ContextGain",
    "ContextLoss",
    "CopyAccuracy",
    "Copying",
    "DistanceLoss",
    "DocumentScore",
    "Evaluation",
    "JournalRecord",
    "LayerRecall",
    "LayerUse",
    "MemoryPlan",
    "NeedleDistance",
    "NeedleScore",
    "NeedleTest",
    "PooledLoss",
    "PositionLoss",
    "Recall",
    "Record",
    "Repeats",
    "RoundsLoss",
    "Sample",
    "SampledPicture",
    "Samples",
    "Step",
    "Total",
    "Validation",
    "last_records",
    "offset_after",
    "peak_key",
    "read_file",
    "read_journal",
    "read_record",
    "read_row_blocks",
    "read_rows",
    "read_samples",
    "whole_bytes",
]
