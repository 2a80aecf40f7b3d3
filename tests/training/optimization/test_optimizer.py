"""Muon has the matrices of the layers and nothing else; its updates and AdamW's are PyTorch's own, to rounding."""

from collections.abc import Callable

import pytest
import torch

from revlm.model import RevLM, resolve_model
from revlm.planning.sizes import sizes_of
from revlm.recipe import Recipe
from revlm.training.optimization import make_optimizer, moment_bytes, muon
from revlm.training.ranks import Ranks

VOCABULARY = 16


def recipe_of(name: str) -> Recipe:
    model = {
        "d_model": 16,
        "n_layers": 3,
        "n_heads": 2,
        "d_ff": 32,
        "layers": ["local", "lsh"],
        "tie_embeddings": False,
    }
    return Recipe.model_validate(
        {
            "output_dir": "unused",
            "model": model,
            "data": {"path": "unused", "seq_len": 256},
            "optimizer": {"name": name, "lr": 0.1, "weight_decay": 0.5},
        }
    )


def model_of(recipe: Recipe) -> RevLM:
    return RevLM(resolve_model(recipe.model, recipe.data.seq_len), vocab_size=VOCABULARY, seed=0)


def give_gradients(model: RevLM) -> None:
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))


def is_muons(name: str, weight: torch.Tensor) -> bool:
    return name.startswith("stack.") and weight.dim() == 2


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_weight_has_one_group_and_matrices_alone_decay(name: str) -> None:
    recipe = recipe_of(name)
    model = model_of(recipe)
    groups = make_optimizer(model, recipe, Ranks()).param_groups
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert len(grouped) == len({id(parameter) for parameter in grouped}) == len(list(model.parameters()))
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for parameter in model.parameters():
        assert decays[id(parameter)] == (0.5 if parameter.dim() == 2 else 0.0)


def one_step(make: Callable[[RevLM, Recipe], torch.optim.Optimizer], recipe: Recipe) -> dict[str, torch.Tensor]:
    model = model_of(recipe)
    give_gradients(model)
    optimizer = make(model, recipe)
    for group in optimizer.param_groups:  # as training does, before each step
        group["lr"] = 0.02
    optimizer.step()
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def ours(model: RevLM, recipe: Recipe) -> torch.optim.Optimizer:
    return make_optimizer(model, recipe, Ranks())


@pytest.mark.parametrize(("native", "tolerance"), [(True, 0.0), (False, 0.03)])
def test_muon_steps_with_the_matrices_of_the_layers_and_adamw_with_the_rest(
    native: bool, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "multiplies_bf16", lambda device: native)

    def of_torch(model: RevLM, recipe: Recipe) -> torch.optim.Optimizer:
        matrices = [weight for name, weight in model.named_parameters() if is_muons(name, weight)]
        return torch.optim.Muon(matrices, momentum=0.95, weight_decay=0.5, adjust_lr_fn="match_rms_adamw")

    before = dict(model_of(recipe_of("muon")).named_parameters())
    expected = one_step(ours, recipe_of("adamw"))
    by_muon = one_step(of_torch, recipe_of("muon"))
    for name, weight in one_step(ours, recipe_of("muon")).items():
        if is_muons(name, weight):
            # In float32 an update differs from PyTorch's, in bf16, by the rounding of the latter.
            difference, update = (weight - by_muon[name]).norm(), (by_muon[name] - before[name]).norm()
            assert difference <= tolerance * update, name
        else:
            assert torch.equal(weight, expected[name]), name


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("shape", [(24, 24), (16, 48), (48, 16)])
def test_muon_orthogonalizes(native: bool, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "multiplies_bf16", lambda device: native)
    made = muon.orthogonalized(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert made.dtype == (torch.bfloat16 if native else torch.float32)
    values = torch.linalg.svdvals(made.double())
    assert values.min() > 0.5
    assert values.max() < 1.3


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_state_is_as_large_as_is_planned(name: str) -> None:
    recipe = recipe_of(name)
    model = model_of(recipe)
    give_gradients(model)
    optimizer = make_optimizer(model, recipe, Ranks())
    promised = moment_bytes(optimizer)
    optimizer.step()
    made = [value for state in optimizer.state.values() for value in state.values() if value.dim() > 0]
    assert sum(value.nbytes for value in made) == promised
    assert sum(value.numel() for value in made) == sizes_of(recipe, VOCABULARY, "cpu").optimizer_elements
