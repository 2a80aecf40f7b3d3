"""Probes: measurements of a trained model beyond its score.

To add a probe: one file here, its schema in `revlm.records`, and one line of the table `PROBES`. The options of
`revlm evaluate`, its tables and the pictures of `revlm report` follow from the table.
"""

from revlm.evaluation.probes.ablations import ABLATIONS
from revlm.evaluation.probes.answers import ANSWERS
from revlm.evaluation.probes.context import CONTEXT
from revlm.evaluation.probes.copying import COPYING
from revlm.evaluation.probes.needle import NEEDLE
from revlm.evaluation.probes.probe import Probe, ProbeInput, ProbeOptions
from revlm.evaluation.probes.recall import RECALL
from revlm.evaluation.probes.repeats import REPEATS

PROBES: dict[str, Probe] = {
    probe.name: probe for probe in (CONTEXT, REPEATS, ABLATIONS, RECALL, COPYING, NEEDLE, ANSWERS)
}
"""The probes by their keys in evaluation.json, in the order of tables and pictures."""

__all__ = ["PROBES", "Probe", "ProbeInput", "ProbeOptions"]
