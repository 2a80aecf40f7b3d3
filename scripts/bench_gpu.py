"""Measures speed and memory of revlm and its rivals on a CUDA GPU, after checking its kernels: ten minutes of a card.

Needs PyTorch with its Triton, NumPy, and jaxtyping, pydantic and PyYAML (which revlm's model imports); matplotlib draws
the pictures if installed. Each measurement runs in a separate process with a time limit, and its result is written as
it comes. The same command resumes: it measures only what the result file lacks. What does not fit in the time is
listed. Prints Markdown tables.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).parent.parent
sys.path[:0] = [str(Path(__file__).parent), str(_REPOSITORY)]
# Import name and package name.
_NEEDED = {"torch": "torch", "numpy": "numpy", "jaxtyping": "jaxtyping", "pydantic": "pydantic", "yaml": "pyyaml"}
_SYSTEMS = ("revlm", "revlm-stored", "exact")


def main() -> int:
    """Returns the exit code: 0 done, 1 kernels are wrong, 2 usage error or no GPU."""
    options = _options()
    missing = [package for name, package in _NEEDED.items() if find_spec(name) is None]
    if missing:
        return _refuse(_bring(missing))
    from revlm.libraries import set_library_defaults

    set_library_defaults(os.environ)
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        return _refuse("PyTorch finds no CUDA device: run it on a machine with one")
    if options.part is not None:
        print(json.dumps(_measured_here(json.loads(options.part), options)))
        return 0
    if options.check:
        return _checked_here(options.device)
    return _benchmark(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--lengths", default="16384,65536,262144,1048576", help="tokens of the example, comma-separated"
    )
    parser.add_argument("--systems", default=",".join(_SYSTEMS), help="systems, comma-separated")
    parser.add_argument(
        "--detail-tokens", type=int, default=65536, help="tokens for launches, operations, other rounds and windows"
    )
    parser.add_argument("--d-model", type=int, default=512)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=570.0, help="time limit of the whole benchmark")
    parser.add_argument("--part-seconds", type=float, default=180.0, help="time limit of one part")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu is only for testing the script")
    parser.add_argument("--output", type=Path, default=Path("bench"), help="folder for gpu.json, gpu.md, the pictures")
    parser.add_argument("--check", action="store_true", help="only compare the kernels with the reference")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # as JSON, in a separate process
    options = parser.parse_args()
    for system in options.systems.split(","):
        if system not in _SYSTEMS:
            parser.error(f"--systems has {system!r}: choose from {','.join(_SYSTEMS)}")
    if not all(length.isdecimal() and int(length) > 0 for length in options.lengths.split(",")):
        parser.error(f"--lengths is {options.lengths!r}: give comma-separated numbers from 1 up")
    if options.detail_tokens < 1:
        parser.error(f"--detail-tokens is {options.detail_tokens}: give a number from 1 up")
    return options


def _bring(missing: list[str]) -> str:
    packages, version = " ".join(missing), ".".join(map(str, sys.version_info[:2]))
    return (
        f"{' and '.join(missing)} cannot be imported: pip install {packages} (without a network, first pip download "
        f"--dest wheels --only-binary :all: --python-version {version} {packages} on a machine with one, then pip "
        f"install --no-index --find-links wheels {packages} here)"
    )


def _refuse(cause: str) -> int:
    print(f"{sys.argv[0]}: {cause}", file=sys.stderr)
    return 2


def _benchmark(options: argparse.Namespace) -> int:
    from bench.gpu.plan import Part, measurements, planned
    from bench.gpu.results import OtherResults, Results
    from bench.gpu.summary import markdown, name_of, write_pictures

    deadline = time.monotonic() + options.seconds
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        results = Results(options.output / "gpu.json", _head(options))
    except OtherResults as error:
        return _refuse(str(error))
    if "checks" not in results.head:
        if code := _checked_separately(results.head, deadline - time.monotonic(), options):
            return code
        results.write()

    def measure(part: Part, seconds: float) -> dict[str, Any]:
        return _measured_separately(part._asdict(), seconds, options)

    lengths = [int(length) for length in options.lengths.split(",")]
    parts = planned(options.systems.split(","), lengths, options.detail_tokens)
    left, known = deadline - time.monotonic(), dict(results.by_part)
    for part, result in measurements(parts, left, options.part_seconds, measure, known):
        results.by_part[part] = result
        results.write()
        print(f"{name_of(part)}: {_outcome(result)}", file=sys.stderr, flush=True)
    text = markdown(results.head, results.by_part)
    (options.output / "gpu.md").write_text(text)
    print(text)
    try:
        pictures = write_pictures(options.output, results.by_part, results.head["device"])
    except ImportError as error:
        print(f"no pictures: {error}", file=sys.stderr)
        pictures = []
    print("\n".join(str(path) for path in [*pictures, options.output / "gpu.md", results.file]))
    return 0


def _head(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from bench.gpu.flops import product_flops_per_second
    from bench.gpu.results import digest_of_sources, versions
    from revlm.model.utilization import peak_flops_per_second

    device = torch.device(options.device)
    head = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "device": torch.cuda.get_device_name(device) if options.device == "cuda" else "CPU",
        "versions": versions(),
        "sources": digest_of_sources(_REPOSITORY),
        "d_model": options.d_model,
        "layers": options.layers,
        "product_flops_per_second": product_flops_per_second(device),
        "peak_flops_per_second": peak_flops_per_second(device, "bf16"),
    }
    if options.device == "cuda":
        torch.cuda.empty_cache()
    return head


def _checked_separately(head: dict[str, Any], seconds: float, options: argparse.Namespace) -> int:
    """Runs the checks, and writes their number into the head; returns an exit code."""
    command = [*_command(options), "--check"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        print(f"{sys.argv[0]}: the checks of the kernels were not done in {seconds:,.0f} s", file=sys.stderr)
        return 1
    print(done.stdout, end="", flush=True)
    if done.returncode == 0:
        head["checks"] = len(done.stdout.splitlines())
    return done.returncode


def _checked_here(device: str) -> int:
    import torch

    from bench.gpu.correctness import checks

    wrong = 0
    for check in checks(torch.device(device)):
        wrong += not check.is_right
        verdict = "right" if check.is_right else "WRONG"
        print(f"{verdict}  {check.error:.1e} of {check.allowed:.0e}  {check.name}", flush=True)
    if wrong:
        print(f"{sys.argv[0]}: {wrong} checks failed, nothing was measured", file=sys.stderr)
    return int(wrong > 0)


def _measured_separately(part: dict[str, Any], seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    command = [*_command(options), "--part", json.dumps(part)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "out_of_time", "cause": f"not done in {seconds:,.0f} s"}
    if done.returncode == 0:
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return {"status": "failed", "cause": f"exit code {done.returncode}: {last}"}


def _measured_here(values: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from bench.gpu.plan import Part
    from bench.gpu.worker import WORKS
    from bench.shape import Shape

    part, width = Part(**values), options.d_model
    shape = Shape(
        part.tokens,
        layers=options.layers,
        d_model=width,
        heads=max(1, width // 64),
        d_ff=4 * width,
        rounds=part.rounds,
        window=part.window,
        documents=part.documents,
    )
    try:
        return {"status": "done", **WORKS[part.work](part.system, shape, torch.device(options.device))}
    except torch.OutOfMemoryError as error:
        return {"status": "out_of_memory", "cause": str(error).partition("\n")[0]}


def _outcome(result: dict[str, Any]) -> str:
    return str(result.get("cause") or (f"{result['seconds']:.3f} s" if "seconds" in result else result["status"]))


def _command(options: argparse.Namespace) -> list[str]:
    given = ("device", "d_model", "layers")
    named = [word for key in given for word in (f"--{key.replace('_', '-')}", str(getattr(options, key)))]
    return [sys.executable, str(Path(__file__)), *named]


if __name__ == "__main__":
    sys.exit(main())
