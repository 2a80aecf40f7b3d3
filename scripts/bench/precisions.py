"""The precisions of matrix products that benchmarks measure."""

import torch

from revlm.model.precision import multiplies_bf16

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PRECISIONS = tuple(DTYPES)
NATIVE_PRECISIONS = PRECISIONS if multiplies_bf16(torch.device("cpu")) else ("fp32",)
"""Those in which this CPU multiplies, the default: emulated bf16 takes a hundred times as long."""
