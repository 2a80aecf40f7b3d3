"""A stage of a sublayer in one pass: its parameters, cast for products once, and the sums of their gradients."""

from collections.abc import Collection, Iterator, Sequence
from copy import copy

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.func import functional_call


class Stage:
    """A part of a sublayer with its own parameter tensors, which share the module's storage but not its hooks.

    Hooks of users and of data-parallel wrappers apply to the sum over all tiles, which the stack returns. Matrices of
    linear maps are cast to the dtype of products once, where autocast would cast them for every tile.
    """

    def __init__(self, module: nn.Module, product: torch.dtype | None) -> None:
        """`product` is autocast's dtype, None where it is off."""
        self.module, self.product = module, product
        linear = {f"{name}.weight" for name, part in module.named_modules() if type(part) is nn.Linear}
        self.parameters: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}
        self.dtypes = {name: value.dtype for name, value in module.named_parameters()}
        for name, value in module.named_parameters():
            casts = product is not None and name in linear and value.dtype == torch.float32
            used = value.detach().to(product) if casts else value.detach()
            self.parameters[name] = used.requires_grad_(value.requires_grad)
            self.gradients[name] = torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))

    def of_heads(self, heads: slice, maps: Collection[nn.Linear], axis: int, shape: tuple[int, int]) -> "Stage":
        """Returns the stage with the weights of some heads, which adds to the gradients of this one.

        The weights of `maps` have `shape`, (heads, head_dim), along an axis, once or for several tensors in turn.
        """
        part = copy(self)
        part.parameters, part.gradients = self.parameters.copy(), self.gradients.copy()
        chosen = (*[slice(None)] * (axis + 1), heads)
        for name in (f"{name}.weight" for name, module in self.module.named_modules() if module in maps):
            weight = self.parameters[name]
            of_heads = weight.detach().unflatten(axis, (-1, *shape))[chosen].flatten(axis, axis + 2)
            part.parameters[name] = of_heads.contiguous().requires_grad_(weight.requires_grad)
            part.gradients[name] = self.gradients[name].unflatten(axis, (-1, *shape))[chosen]
        return part

    def __call__(self, *arguments: object, **options: object) -> tuple[Tensor, ...]:
        """Returns the stage's results, always as a tuple."""
        result = functional_call(self.module, self.parameters, arguments, options)
        return result if isinstance(result, tuple) else (result,)

    def backward(
        self,
        outputs: Sequence[Tensor] | Sequence[GradientEdge],
        inputs: tuple[Tensor, ...],
        d_outputs: tuple[Tensor, ...],
    ) -> tuple[Tensor | None, ...]:
        """Accumulates the gradients of the parameters; returns those of the inputs, None where there is none."""
        learned = {name: value for name, value in self.parameters.items() if value.requires_grad}
        gradients = torch.autograd.grad(outputs, (*inputs, *learned.values()), d_outputs, allow_unused=True)
        for name, gradient in zip(learned, gradients[len(inputs) :], strict=True):
            if gradient is not None:
                self.gradients[name].add_(gradient.reshape(self.gradients[name].shape))
        return gradients[: len(inputs)]

    def summed(self) -> Iterator[Tensor]:
        """Yields the accumulated gradient of each parameter, in the parameter's dtype."""
        for name, dtype in self.dtypes.items():
            yield self.gradients[name].to(dtype)
