"""Compares the speed and memory of revlm on a CUDA GPU with exact attention, after checking its kernels.

Needs PyTorch with its Triton, NumPy, and jaxtyping, pydantic and PyYAML (which revlm's model imports); matplotlib draws
the pictures if installed. Each measurement runs in a separate process. Those that do not fit in the time are skipped
and listed.
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
        return _refuse(f"{' and '.join(missing)} cannot be imported: pip install {' '.join(missing)}")
    if not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys():
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"  # as in revlm's command line
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        return _refuse("PyTorch finds no CUDA device: run it on a machine with one")
    if options.cell is not None:
        print(json.dumps(_measured_here(options.cell, options)))
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
    parser.add_argument("--d-model", type=int, default=512)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=540.0, help="time limit of the whole benchmark")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu is only for testing the script")
    parser.add_argument("--output", type=Path, default=Path("bench"), help="folder for gpu.json and the pictures")
    parser.add_argument("--check", action="store_true", help="only compare the kernels with the reference")
    parser.add_argument("--cell", help=argparse.SUPPRESS)  # SYSTEM:TOKENS, in a separate process
    options = parser.parse_args()
    for system in options.systems.split(","):
        if system not in _SYSTEMS:
            parser.error(f"--systems has {system!r}: choose from {','.join(_SYSTEMS)}")
    if not all(length.isdecimal() and int(length) > 0 for length in options.lengths.split(",")):
        parser.error(f"--lengths is {options.lengths!r}: give comma-separated numbers from 1 up")
    return options


def _refuse(cause: str) -> int:
    print(f"{sys.argv[0]}: {cause}", file=sys.stderr)
    return 2


def _benchmark(options: argparse.Namespace) -> int:
    import torch

    from bench.gpu.flops import model_flops, product_flops_per_second
    from bench.gpu.schedule import Cell, measurements
    from bench.gpu.summary import Row, table, write_pictures

    deadline = time.monotonic() + options.seconds
    if code := subprocess.run([*_command(options), "--check"], check=False).returncode:
        return code
    device = torch.device(options.device)
    rate = product_flops_per_second(device)
    name = torch.cuda.get_device_name(device) if options.device == "cuda" else "CPU"
    if options.device == "cuda":
        torch.cuda.empty_cache()
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    head = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "device": name,
        "versions": {module: _version(module) for module in ("torch", "triton")},
        "product_flops_per_second": rate,
        "options": {key: str(value) for key, value in vars(options).items()},
    }
    lengths = [int(length) for length in options.lengths.split(",")]

    def measure(cell: Cell, seconds: float) -> dict[str, Any]:
        return _measured_separately(cell.system, cell.tokens, seconds, options)

    for cell, result in measurements(options.systems.split(","), lengths, deadline - time.monotonic(), measure):
        seconds = result.get("seconds")
        flops = model_flops(_shape(cell.tokens, options), cell.system)
        row = Row(
            cell,
            result["status"],
            result.get("cause"),
            seconds,
            result.get("peak_allocated_bytes"),
            result.get("peak_reserved_bytes"),
            flops / seconds / rate if seconds else None,
        )
        rows.append(row)
        print(f"{cell.system}, {cell.tokens:,} tokens: {row.cause or f'{seconds:.3f} s'}", file=sys.stderr)
        content = head | {"rows": [each.to_json() for each in rows]}
        (options.output / "gpu.json").write_text(json.dumps(content, indent=2) + "\n")
    print(f"{name}, large products of bfloat16 at {rate / 1e12:,.1f} TFLOP/s; bf16, {options.layers} layers")
    print(table(rows))
    try:
        pictures = write_pictures(options.output, rows, name)
    except ImportError as error:
        print(f"no pictures: {error}", file=sys.stderr)
        pictures = []
    print("\n".join(str(path) for path in [*pictures, options.output / "gpu.json"]))
    return 0


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


def _measured_separately(system: str, tokens: int, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    command = [*_command(options), "--cell", f"{system}:{tokens}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "out_of_time", "cause": f"not done in the {seconds:,.0f} s that were left"}
    if done.returncode == 0:
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return {"status": "failed", "cause": f"exit code {done.returncode}: {last}"}


def _measured_here(cell: str, options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from bench.gpu.step import measure

    system, tokens = cell.split(":")
    try:
        return {"status": "done", **measure(system, _shape(int(tokens), options), torch.device(options.device))}
    except torch.OutOfMemoryError as error:
        return {"status": "out_of_memory", "cause": str(error).partition("\n")[0]}


def _shape(tokens: int, options: argparse.Namespace) -> Any:
    from bench.shape import Shape

    width = options.d_model
    return Shape(tokens, layers=options.layers, d_model=width, heads=max(1, width // 64), d_ff=4 * width)


def _command(options: argparse.Namespace) -> list[str]:
    given = ("device", "d_model", "layers")
    named = [word for key in given for word in (f"--{key.replace('_', '-')}", str(getattr(options, key)))]
    return [sys.executable, str(Path(__file__)), *named]


def _version(module: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
