"""`check_plan.py` holds plans against real steps, and says which are beyond their bound."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import check_plan
from bench.plan_cases import CASES
from bench.plan_check import MIB, Checked, beyond_bound, check_table
from revlm.runs import MemoryMeter

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "check_plan.py"
CASE = CASES[0]


def checked(planned: int, measured: int) -> Checked:
    return Checked(CASE, {"forward": 200 * MIB, "backward": planned}, {"forward": 190 * MIB, "backward": measured})


def test_the_recipes_differ_in_all_that_decides_memory() -> None:
    assert len(CASES) >= 12
    assert len({case.name for case in CASES}) == len(CASES)
    assert {min(case.tokens for case in CASES), max(case.tokens for case in CASES)} == {8192, 262144}
    assert {min(case.layers for case in CASES), max(case.layers for case in CASES)} == {2, 48}
    assert {case.precision for case in CASES} == {"bf16", "fp32"}
    for reversible in (True, False):
        assert {case.precision for case in CASES if case.reversible is reversible} == {"bf16", "fp32"}


@pytest.mark.parametrize(
    ("planned", "measured", "within"),
    [
        (131 * MIB, 100 * MIB, True),
        (133 * MIB, 100 * MIB, False),
        (69 * MIB, 100 * MIB, True),
        (1099 * MIB, 1000 * MIB, True),
        (1101 * MIB, 1000 * MIB, False),
        (899 * MIB, 1000 * MIB, False),
    ],
)
def test_the_bound_is_a_tenth_or_32_mib(planned: int, measured: int, within: bool) -> None:
    each = checked(planned, measured)
    assert each.worst_phase == "backward"
    assert each.is_within_bound is within
    assert len(list(beyond_bound([each]))) == (not within)
    assert check_table([each]).row_count == 1


@pytest.mark.slow
def test_every_recipe_is_within_its_bound(tmp_path: Path) -> None:
    if not MemoryMeter("cpu").peaks_by_phase:
        pytest.skip("this system cannot set the peak of resident memory back")
    done = subprocess.run([sys.executable, SCRIPT, "--output", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    recipes = json.loads((tmp_path / "plan.json").read_text())["recipes"]
    assert [each["case"]["name"] for each in recipes] == list(check_plan.NATIVE_CASES)
    assert all(each["within_bound"] for each in recipes)


def test_a_plan_far_off_is_named_and_ends_with_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    far = [Checked(case, {"backward": 0}, {"backward": 2**40}).to_json() for case in CASES]
    (tmp_path / "plan.json").write_text(json.dumps({"recipes": far}))
    with pytest.raises(typer.Exit) as ended:
        check_plan.main(
            recipes=",".join(case.name for case in CASES), measured=tmp_path / "plan.json", output=tmp_path / "new"
        )
    assert ended.value.exit_code == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == len(CASES)
    assert "deep-fp32: the plan of its backward phase is off by -1,048," in said
