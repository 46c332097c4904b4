"""prune() against torch.nn.utils.prune and brute force; and what it refuses, leaving no trace."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from secateur.pruning import prune, verify
from secateur.pruning.targets import select
from tests.pruning.models import Zoo, mlp


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_state(model: nn.Module, before: dict[str, Tensor]) -> None:
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.875, 0.99])
def test_layer_by_layer_it_is_torchs_l1_unstructured(sparsity: float) -> None:
    model = mlp(33, 17, 9)
    theirs = copy.deepcopy(model)
    masks = prune(model, sparsity)
    for i in (0, 2):
        torch_prune.l1_unstructured(theirs[i], "weight", sparsity)
        assert torch.equal(masks[f"{i}.weight"], theirs[i].weight_mask.bool())
        assert torch.equal(model[i].weight, theirs[i].weight)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.875, 0.99])
def test_globally_it_is_torchs_global_unstructured(sparsity: float) -> None:
    model = mlp(33, 17, 9)
    theirs = copy.deepcopy(model)
    masks = prune(model, sparsity, scope="global")
    torch_prune.global_unstructured(
        [(theirs[0], "weight"), (theirs[2], "weight")], torch_prune.L1Unstructured, amount=sparsity
    )
    for i in (0, 2):
        assert torch.equal(masks[f"{i}.weight"], theirs[i].weight_mask.bool())


@given(st.integers(1, 6), st.integers(1, 9), st.floats(0, 0.999), st.data())
def test_row_by_row_it_is_brute_force(
    rows: int, columns: int, sparsity: float, data: st.DataObject
) -> None:
    layer = nn.Linear(columns, rows)
    values = data.draw(
        st.lists(st.integers(-3, 3), min_size=rows * columns, max_size=rows * columns)
    )
    layer.weight.data = torch.tensor(values).reshape(rows, columns).float()
    mask = prune(layer, sparsity, scope="row")["weight"]
    kept = columns - round(sparsity * columns)
    original = torch.tensor(values).reshape(rows, columns).tolist()
    for row, keep in zip(original, mask.tolist(), strict=True):
        ranked = sorted(range(columns), key=lambda i: (-abs(row[i]), i))
        assert [i for i in range(columns) if keep[i]] == sorted(ranked[:kept])


def test_every_kind_of_weight_in_place_and_nothing_else() -> None:
    model = Zoo()
    before = state(model)
    parameters = dict(model.named_parameters())
    masks = prune(model, 0.5, targets=[nn.Module])
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert dict(model.named_parameters()) == parameters, "parameters were replaced"
    assert all(p.is_leaf for p in model.parameters())
    for name, tensor in before.items():
        key = "head.weight" if name == "embedding.weight" else name
        wanted = tensor.where(masks[key], 0.0) if key in masks else tensor
        assert torch.equal(after[name], wanted), name
    for name, mask in masks.items():
        assert mask.shape == after[name].shape
        assert int(mask.sum()) == mask.numel() - round(0.5 * mask.numel())
    verify(model, masks).require()


def test_2_of_4_runs_over_a_convolutions_channels() -> None:
    """Over (channel, kh, kw) as stored it would be another mask, which no kernel can use."""
    conv = nn.Conv2d(8, 3, 3)
    mask = prune(conv, pattern="2:4")["weight"]
    groups = mask.permute(0, 2, 3, 1).reshape(-1, 4)
    assert torch.equal(groups.sum(1), torch.full((len(groups),), 2))


def test_2_of_4_runs_over_a_hugging_face_weights_rows() -> None:
    mask = prune(Zoo(), pattern="2:4", targets="hugging")["hugging.weight"]
    assert torch.equal(mask.T.reshape(-1, 4).sum(1), torch.full((32,), 2))


@pytest.mark.parametrize("sparsity", [None, 0.5])
def test_2_of_4_is_half(sparsity: float | None) -> None:
    masks = prune(mlp(16, 8, 4), sparsity, pattern="2:4")
    assert masks.sparsity == 0.5
    assert masks.origin is not None
    assert (masks.origin.pattern, masks.origin.sparsity) == ("2:4", 0.5)


def test_zeros_go_first() -> None:
    layer = nn.Linear(20, 10)
    first = prune(layer, 0.4)["weight"]
    second = prune(layer, 0.7)["weight"]
    assert not bool((second & ~first).any())
    assert int(second.sum()) == 60
    third = prune(layer, 0.4)["weight"]
    assert int(third.sum()) == 120, "the count is the mask's, though more weights are zero"
    assert int((layer.weight != 0).sum()) == 60


def test_an_infinite_weight_is_kept_or_zeroed_but_never_nan() -> None:
    layer = nn.Linear(4, 1)
    layer.weight.data = torch.tensor([[math.inf, -math.inf, 1.0, -math.inf]])
    prune(layer, 0.5)
    assert torch.equal(layer.weight, torch.tensor([[math.inf, -math.inf, 0.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_removed_is_positive_zero(dtype: torch.dtype) -> None:
    layer = nn.Linear(8, 8).to(dtype)
    before = layer.weight.detach().clone()
    mask = prune(layer, 0.5)["weight"]
    assert not bool(layer.weight[~mask].view(torch.uint8).any())
    assert torch.equal(layer.weight[mask], before[mask])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_widths_are_ranked_exactly(dtype: torch.dtype) -> None:
    layer = nn.Linear(64, 16).to(dtype)
    if dtype == torch.float64:
        layer.weight.data = 1 + torch.randperm(1024).reshape(16, 64) * 2.0**-52
    magnitude = layer.weight.detach().double().abs().flatten()
    mask = prune(layer, 0.3, scope="global")["weight"].flatten()
    assert int(mask.sum()) == 1024 - 307
    assert magnitude[mask].min() >= magnitude[~mask].max()


def test_layers_of_different_widths_compete_globally() -> None:
    model = mlp(8, 8, 8)
    model[0].to(torch.float64).weight.data.fill_(1.0 + 2.0**-52)
    model[2].weight.data.fill_(1.0)
    masks = prune(model, 0.5, scope="global")
    assert bool(masks["0.weight"].all())
    assert not bool(masks["2.weight"].any())


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_empty_weight_has_an_empty_mask() -> None:
    for scope in ("layer", "row", "global"):
        assert prune(nn.Linear(0, 4), 0.5, scope=scope)["weight"].shape == (4, 0)


def test_frozen_weights_are_pruned_too() -> None:
    model = mlp(8, 8).requires_grad_(False)
    assert prune(model, 0.5).sparsity == 0.5


def test_random_follows_its_generator_and_leaves_torchs_alone() -> None:
    def draw(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return prune(nn.Linear(30, 20), 0.7, criterion="random", generator=generator)["weight"]

    before = torch.get_rng_state()
    layer = nn.Linear(30, 20)
    torch.set_rng_state(before)
    prune(layer, 0.5)
    generator = torch.Generator().manual_seed(0)
    prune(layer, 0.5, criterion="random", generator=generator)
    assert torch.equal(torch.get_rng_state(), before), "the global generator was drawn from"
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert int(draw(1).sum()) == 600 - 420


def test_random_without_a_generator_follows_manual_seed() -> None:
    def draw() -> Tensor:
        torch.manual_seed(3)
        return prune(nn.Linear(30, 20), 0.7, criterion="random", scope="global")["weight"]

    assert torch.equal(draw(), draw())


def test_random_does_not_prefer_an_index() -> None:
    """Each of 20 x 30 weights is kept with p = 1/2 in 400 draws; 6 sigma over 600 of them."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(20, 30)
    for _ in range(400):
        counts += prune(nn.Linear(30, 20), 0.5, criterion="random", generator=generator)["weight"]
    assert (counts - 200).abs().max() <= 6 * math.sqrt(400 / 4)


class Last:
    """A user's own criterion: the later, the better."""

    name = "last"
    needs: frozenset[str] = frozenset()

    def score(self, weight: Tensor, evidence: object) -> Tensor:
        return torch.arange(weight.numel(), dtype=torch.float32).reshape(weight.shape)


def test_a_criterion_of_the_users_own() -> None:
    mask = prune(nn.Linear(4, 2), 0.75, criterion=Last())["weight"]
    assert mask.flatten().tolist() == [False] * 6 + [True] * 2


class Transposed(Last):
    def score(self, weight: Tensor, evidence: object) -> Tensor:
        return weight.T


class Needy(Last):
    needs = frozenset({"hessian"})


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ValueError, "pattern 'unstructured' needs a sparsity.*sparsity=0.9"),
        ({"sparsity": 50}, ValueError, r"in \[0, 1\), not 50; did you mean 0.5\?"),
        ({"sparsity": 1}, ValueError, "1 would remove every weight"),
        ({"sparsity": -0.1}, ValueError, r"\[0, 1\), not -0.1"),
        ({"sparsity": math.nan}, ValueError, "not nan"),
        ({"sparsity": "0.5"}, TypeError, r"number in \[0, 1\), not '0.5'"),
        ({"sparsity": True}, TypeError, "not True"),
        ({"sparsity": 0.9, "pattern": "2:4"}, ValueError, "2:4 has a sparsity of its own, 0.5"),
        ({"pattern": "2:4", "scope": "global"}, ValueError, "'global' lets layers compete"),
        ({"pattern": "4:2"}, ValueError, 'did you mean "2:4"'),
        ({"pattern": "2:4"}, ValueError, r"divisible by 4, not 10 \('2.weight'\).*ignore=\['2'\]"),
        ({"sparsity": 0.5, "criterion": "wandaa"}, ValueError, "unknown criterion 'wandaa'; known"),
        ({"sparsity": 0.5, "scope": "model"}, ValueError, "unknown scope 'model'; known: global"),
        (
            {"sparsity": 0.5, "targets": "3"},
            ValueError,
            "targets: '3' matches nothing",
        ),
        ({"sparsity": 0.5, "calibration": []}, ValueError, "reads no batches; leave calibration"),
        ({"sparsity": 0.5, "criterion": Transposed()}, ValueError, r"returned \[16, 10\] for '0.w"),
        ({"sparsity": 0.5, "criterion": Needy()}, ValueError, "needs hessian, which is not"),
    ],
)
def test_bad_input_is_refused_and_leaves_the_model_alone(
    arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    model = mlp(16, 10, 4)
    before = state(model)
    with pytest.raises(error, match=says):
        prune(model, **arguments)
    assert_same_state(model, before)


@pytest.mark.parametrize("scope", ["layer", "row", "global"])
def test_a_nan_in_the_last_layer_leaves_the_first_alone(scope: str) -> None:
    model = mlp(8, 8, 8)
    with torch.no_grad():
        model[2].weight[3, 3] = math.nan
    before = state(model[0])
    with pytest.raises(ValueError, match=r"NaN or -inf for '2.weight'"):
        prune(model, 0.5, scope=scope)
    assert_same_state(model[0], before)


def test_any_real_number_is_a_sparsity() -> None:
    assert prune(mlp(8, 8), Fraction(1, 4)).sparsity == 0.25
    assert prune(mlp(8, 8), 0).sparsity == 0.0


def test_a_pruned_model_copies_and_compiles_like_any_other() -> None:
    """A reparametrised weight is no leaf, and deepcopy of it fails."""
    model = mlp(16, 8, 4)
    prune(model, 0.5)
    twin = copy.deepcopy(model)
    x = torch.randn(3, 16)
    assert torch.equal(twin(x), model(x))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), model(x))


def test_masks_are_the_only_memory() -> None:
    """One bool per weight, shaped and named like the parameter; no second copy on the module."""
    model = mlp(16, 8)
    masks = prune(model, 0.5)
    assert not [name for name, _ in model.named_buffers()]
    assert not model._forward_pre_hooks
    assert not model[0]._forward_pre_hooks
    assert {k: m.dtype for k, m in masks.items()} == {"0.weight": torch.bool}
    assert masks["0.weight"].is_contiguous()
    assert select(model)["0.weight"].weight is model[0].weight
