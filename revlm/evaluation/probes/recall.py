"""What the buckets of each hash layer find; `revlm.evaluation.attention_recall` measures it."""

from collections.abc import Sequence

from revlm.evaluation.probes.probe import Probe, ProbeInput
from revlm.evaluation.views import Table
from revlm.records import Recall


def _measure(given: ProbeInput) -> Recall:
    from revlm.evaluation.attention_recall import measure_recall

    return measure_recall(given.scorer, given.beginnings, seed=given.options.seed, progress=given.progress)


def _tables(recall: Recall) -> Sequence[Table]:
    if not recall.layers:
        return [Table((), (), "recall: none was measured, as no text of two tokens went through a hash layer")]
    rows = [
        (f"layer {each.layer}", f"{each.found:.1%}", f"{each.best:.1%}", f"{each.chance:.2%}", f"{each.keys:.1f}")
        for each in recall.layers
    ]
    return [
        Table(
            ("hash layer", "found", "best as many keys", "chance", "keys"),
            [rows],
            f"recall: the share of exact attention's weight on what the buckets find, of {recall.queries:,} queries",
            "found: on the keys that a query's buckets hold; best: on as many keys chosen best; chance: on as many "
            "drawn at random; means over all heads",
        )
    ]


RECALL = Probe(
    name="recall",
    option="--recall",
    help="Share of exact attention's weight that the buckets find.",
    title="What the buckets find",
    measure=_measure,
    tables=_tables,
)
