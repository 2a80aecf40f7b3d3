import subprocess
import sys

import pytest

from revlm.evaluation.probes import PROBES
from revlm.evaluation.run import _kept
from revlm.evaluation.views import Bars, Chart
from revlm.records import Evaluation, Total, read_record
from tests.report.builder import build_run, write_evaluation

TOTAL = Total(tokens=10, bytes=40, loss=3.0, bits_per_byte=1.0)


def evaluation(**changes: object) -> Evaluation:
    whole: dict[str, object] = {"step": 3, "data": "novels", "seq_len": 512, "total": TOTAL}
    return Evaluation(**{**whole, "documents": [], "positions": [], **changes})  # type: ignore[arg-type]


def test_every_probe_has_its_key_in_the_schema_and_an_option_of_its_own() -> None:
    read_with = {"step", "data", "seq_len", "rounds", "buckets", "attention_scale"}
    assert set(PROBES) == set(Evaluation.model_fields) - read_with - {"total", "documents", "positions"}
    assert len({probe.option for probe in PROBES.values()}) == len(PROBES)
    assert all(name == probe.name for name, probe in PROBES.items())


def test_the_table_loads_neither_torch_nor_matplotlib() -> None:
    program = "import sys, revlm.evaluation.probes; print({'torch', 'matplotlib', 'datasets'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"


@pytest.mark.parametrize("name", PROBES)
def test_what_a_probe_found_is_shown_in_tables_and_panels(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = write_evaluation(build_run(tmp_path_factory.mktemp("runs") / "run", 1))
    found = getattr(read_record(Evaluation, run / "evaluation.json"), name)
    tables, panels = PROBES[name].tables(found), PROBES[name].panels(found)
    for table in tables:
        assert {len(row) for section in table.sections for row in section} == {len(table.columns)}
    assert all(isinstance(panel, Chart | Bars) for panel in panels)
    assert (not panels) or PROBES[name].caption(found)
    if PROBES[name].compared:
        [chart] = panels
        assert isinstance(chart, Chart)
        assert len(chart.lines) == 1


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"total": TOTAL.model_copy(update={"loss": 3.001})}, True),
        ({"total": TOTAL.model_copy(update={"loss": 3.1})}, False),
        ({"total": TOTAL.model_copy(update={"tokens": 11})}, False),
        ({"step": 4}, False),
        ({"data": "others"}, False),
        ({"rounds": 8}, False),
    ],
)
def test_results_stay_while_weights_and_documents_are_the_same(changes: dict[str, object], is_kept: bool) -> None:
    assert bool(_kept(evaluation(), evaluation(**changes))) == is_kept
    assert _kept(None, evaluation()) == {}
