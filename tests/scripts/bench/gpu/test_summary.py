from typing import Any

from bench.gpu.plan import Part, Result
from bench.gpu.summary import markdown

HEAD: dict[str, Any] = {
    "device": "A card",
    "versions": {"torch": "2.11"},
    "d_model": 512,
    "layers": 12,
    "checks": 16,
    "product_flops_per_second": 4e12,
    "peak_flops_per_second": 8e12,
}
STEP: Result = {
    "status": "done",
    "seconds": 0.5,
    "model_flops": 10**12,
    "peak_allocated_bytes": 2 * 10**9,
    "peak_reserved_bytes": 3 * 10**9,
}
LAUNCHES: Result = {
    "status": "done",
    "launches": 1234,
    "waits": 5,
    "host_reads": {"equal": 2},
    "kernel_seconds": 0.25,
    "kernels": [{"name": "forward", "calls": 48, "seconds": 0.125}],
}
OPERATIONS: Result = {"status": "done", "operations": [{"name": "hash", "calls": 24, "seconds": 0.01, "flops": 10**10}]}


def test_tables_show_every_result() -> None:
    results = {
        Part("step", "revlm", 1000, rounds=2): STEP,
        Part("step", "exact", 1000): {"status": "left_out", "cause": "about 99 s, and 7 s are left"},
        Part("launches", "revlm", 1000): LAUNCHES,
        Part("operations", "revlm", 1000): OPERATIONS,
    }
    text = markdown(HEAD, results)
    assert "A card: large products of bfloat16 at 4.0 TFLOP/s, 8 by its data sheet" in text
    assert (
        "| revlm, 1000 tokens".replace("1000", "1,000") + ", 2 rounds | 2,000 | 0.500 | 2.00 | 3.00 | 50.0% | 25.0% |"
        in text
    )
    assert "| exact attention, checkpointed, 1,000 tokens | left out |" in text
    assert "1,234 launches, 5 waits of the host, host reads: 2 equal" in text
    assert "| `forward` | 48 | 0.1250 |" in text
    assert "| hash | 24 | 10.00 | 1.0 |" in text
    assert text.endswith("- exact attention, checkpointed, 1,000 tokens: about 99 s, and 7 s are left\n")


def test_an_unknown_card_has_no_mfu() -> None:
    text = markdown(HEAD | {"peak_flops_per_second": None}, {Part("step", "revlm", 1000): STEP})
    assert "50.0% | - |" in text
    assert "data sheet" not in text
