from pathlib import Path

import pytest
import torch

from revlm.model.utilization import bf16_peak_of, peak_flops_per_second
from revlm.records import Step, read_journal
from tests.tiny_run import write_run


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA H200", 989),
        ("NVIDIA L40S", 362),
        ("NVIDIA L40", None),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 3090", 71),
        ("NVIDIA B200", 2250),
        ("Some other device", None),
    ],
)
def test_only_a_whole_device_of_a_known_name_has_a_peak(name: str, tera: int | None) -> None:
    assert bf16_peak_of(name) == (None if tera is None else tera * 1e12)


def test_a_peak_is_of_bf16_on_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert peak_flops_per_second(torch.device("cuda"), "bf16") == 989e12
    assert peak_flops_per_second(torch.device("cuda"), "fp32") is None
    assert peak_flops_per_second(torch.device("cpu"), "bf16") is None


@pytest.mark.parametrize("peak", [None, 1e15])
def test_a_step_tells_its_flops_and_their_share_of_a_known_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peak: float | None
) -> None:
    monkeypatch.setattr("revlm.training.trainer.peak_flops_per_second", lambda device, precision: peak)
    monkeypatch.setattr("revlm.training.trainer.training_flops", lambda model, lengths: 1000 * sum(lengths))
    run = write_run(tmp_path / "run")
    steps = [record for record in read_journal(run / "metrics.jsonl") if isinstance(record, Step)]
    assert steps
    for step in steps:
        assert step.model_flops_per_second == pytest.approx(1000 * step.tokens_per_second)
        assert step.mfu == (None if peak is None else pytest.approx(step.model_flops_per_second / peak))
