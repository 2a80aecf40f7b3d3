from pathlib import Path
from typing import Any

import pytest

from bench.gpu.plan import Part
from bench.gpu.results import OtherResults, Results, digest_of_sources

HEAD: dict[str, Any] = {"device": "A", "versions": {}, "d_model": 512, "layers": 12, "sources": "0"}
PART = Part("step", "revlm", 1000, window=32)


def test_results_resume(tmp_path: Path) -> None:
    results = Results(tmp_path / "gpu.json", HEAD)
    results.by_part[PART] = {"status": "done", "seconds": 1.5}
    results.head["checks"] = 16
    results.write()
    again = Results(tmp_path / "gpu.json", HEAD | {"started": "later"})
    assert (again.by_part, again.head["checks"]) == (results.by_part, 16)


@pytest.mark.parametrize("key", ["device", "versions", "d_model", "layers", "sources"])
def test_results_of_another_card_or_code_are_refused(tmp_path: Path, key: str) -> None:
    Results(tmp_path / "gpu.json", HEAD).write()
    with pytest.raises(OtherResults, match=f"with other {key}: give another --output"):
        Results(tmp_path / "gpu.json", HEAD | {key: "other"})


def test_sources_are_those_that_are_measured(tmp_path: Path) -> None:
    (tmp_path / "revlm/ops").mkdir(parents=True)
    digests = []
    for name in ("revlm/ops/new.py", "README.md"):
        digests.append(digest_of_sources(tmp_path))
        (tmp_path / name).write_text("pass\n")
    assert digests[0] != digests[1] == digest_of_sources(tmp_path)
