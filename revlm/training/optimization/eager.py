"""PyTorch's optimizers without `torch._dynamo`.

Their decorators import it for programs that compile an optimizer's step. revlm does not, and the import takes seconds
and 140 MB in each process.
"""

from inspect import unwrap

import torch
from torch import optim


class EagerOptimizer(optim.Optimizer):
    """An optimizer whose step is never compiled."""

    add_param_group = unwrap(optim.Optimizer.add_param_group)
    zero_grad = unwrap(optim.Optimizer.zero_grad)


class AdamW(EagerOptimizer, optim.AdamW):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101), whose step is never compiled."""

    step = torch.no_grad()(unwrap(optim.AdamW.step))
