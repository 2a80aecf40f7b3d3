import jaxtyping
import pytest
import torch
from beartype import beartype
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from revlm.ops.normalization import rms_norm
from tests.axes import decorated


@decorated(beartype)
def product(a: Float[Tensor, "rows inner"], b: Float[Tensor, "inner columns"]) -> Float[Tensor, "rows columns"]:
    return a @ b if a.shape[0] > 1 else a


@decorated(beartype)
def doubled(count: int) -> int:
    return 2 * count


def test_axes_are_checked_for_each_new_combination_of_shapes() -> None:
    for _ in range(2):
        assert product(torch.ones(2, 3), torch.ones(3, 4)).shape == (2, 4)
        with pytest.raises(TypeCheckError):
            product(torch.ones(2, 3), torch.ones(4, 3))
        with pytest.raises(TypeCheckError):
            product(torch.ones(2, 3).int(), torch.ones(3, 4))
        with pytest.raises(TypeCheckError):
            product(torch.ones(2, 3), b=torch.ones(3))


def test_the_axes_of_a_result_are_checked() -> None:
    with pytest.raises(TypeCheckError):
        product(torch.ones(1, 3), torch.ones(3, 4))


def test_other_types_are_checked_too() -> None:
    assert doubled(2) == 4
    with pytest.raises(BeartypeCallHintParamViolation):
        doubled("2")  # type: ignore[arg-type]


def test_the_operations_are_checked() -> None:
    assert jaxtyping.jaxtyped is decorated
    with pytest.raises(TypeCheckError):
        rms_norm(torch.ones(2, 3), torch.ones(4))
