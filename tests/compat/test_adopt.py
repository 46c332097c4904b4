"""Models that torch's two pruning packages have pruned: converted as they are, or made plain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import secateur as sc
from secateur import compat

Made = tuple[nn.Module, Tensor]


def integers(model: nn.Module) -> nn.Module:
    """Small integers, so that sums have no rounding to differ in."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(1, 5, parameter.shape))
    return model.eval()


def x(*shape: int) -> Tensor:
    return torch.randint(-4, 5, shape).float()


def linear() -> Made:
    model = integers(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)))
    prune.l1_unstructured(model[0], "weight", 0.5)
    prune.random_unstructured(model[0], "weight", 0.8)
    prune.l1_unstructured(model[0], "bias", 3)
    return model, x(5, 64)


def conv() -> Made:
    model = integers(nn.Sequential(nn.Conv2d(16, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)))
    prune.random_unstructured(model[0], "weight", 0.9)
    prune.ln_structured(model[2], "weight", 0.5, 1, dim=0)
    return model, x(2, 16, 6, 6)


def sparsified() -> Made:
    from torch.ao.pruning import WeightNormSparsifier

    model = integers(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)))
    sparsifier = WeightNormSparsifier(0.8, sparse_block_shape=(1, 4), zeros_per_block=4)
    sparsifier.prepare(model, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    return model, x(5, 64)


def squashed() -> Made:
    model, rows = sparsified()
    mask = model[0].parametrizations["weight"][0].mask.clone()
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    assert bool((model[0].weight[mask == 0] == 0).all())
    return model, rows


def attention() -> Made:
    model = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    prune.random_unstructured(model, "in_proj_weight", 0.9)
    prune.random_unstructured(model.out_proj, "weight", 0.9)
    return model, torch.randn(2, 5, 32)


MAKES: dict[str, Callable[[], Made]] = {f.__name__: f for f in (linear, conv, sparsified, squashed)}


def zeros(model: nn.Module) -> dict[str, int]:
    """How many zeros the forward pass sees, by parameter name."""
    return {
        f"{name}.weight": int((module.weight == 0).sum())
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


@pytest.mark.parametrize("name", MAKES)
def test_it_converts_as_it_is_and_is_left_alone(name: str) -> None:
    model, rows = MAKES[name]()
    with torch.no_grad():
        wanted = model(rows)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = sc.convert(model, rows, gate="always")
    assert isinstance(fast[0], sc.SparseLinear | sc.SparseConv2d)
    assert int((fast[0].weight == 0).sum()) == int((model[0].weight == 0).sum())
    assert torch.equal(fast(rows), wanted)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(rows), wanted)
    taken = sc.convert(model, rows, gate="always", inplace=True)
    assert torch.equal(taken(rows), wanted)


def test_pruned_attention_converts() -> None:
    model, rows = attention()
    with torch.no_grad():
        wanted = model(rows, rows, rows)[0]
    assert list(sc.Masks.from_model(model)) == ["in_proj_weight", "out_proj.weight"]
    fast = sc.convert(model, (rows, rows, rows), gate="always")
    torch.testing.assert_close(fast(rows, rows, rows)[0], wanted)
    assert "2 of 2 layers" in str(sc.plan(model, rows=[4096])) or sc.plan(model).layers


def test_a_weight_trained_since_the_last_forward_pass_converts_as_it_is_now() -> None:
    """torch.nn.utils.prune's attribute is as old as the last forward pass."""
    model, rows = linear()
    with torch.no_grad():
        model[0].weight_orig.mul_(2)
    fast = sc.convert(model, rows=[5], gate="always")
    assert torch.equal(fast(rows), model(rows))


@pytest.mark.parametrize("name", MAKES)
def test_masks_verify_and_plan_see_through(name: str) -> None:
    model, _ = MAKES[name]()
    masks = sc.Masks.from_model(model)
    assert {key: mask.numel() - int(mask.sum()) for key, mask in masks.items()} == zeros(model)
    report = sc.verify(model)
    report.require()
    assert {f.name: f.zeros for f in report.findings} == zeros(model)
    for layer in sc.plan(model).layers:
        assert layer.sparsity == zeros(model)[f"{layer.name}.weight"] / (
            layer.shape[0] * layer.shape[1]
        )


@pytest.mark.parametrize("name", MAKES)
def test_adopted_it_is_plain_and_computes_the_same(name: str) -> None:
    model, rows = MAKES[name]()
    held = zeros(model)
    parameters = {id(p) for p in model.parameters()}
    with torch.no_grad():
        wanted = model(rows)
    masks = compat.adopt(model)
    with torch.no_grad():
        assert torch.equal(model(rows), wanted)
    assert {id(p) for p in model.parameters()} == parameters
    assert {n.split(".")[-1] for n in model.state_dict()} == {"weight", "bias"}
    assert zeros(model) == held
    for key, mask in masks.items():
        weight = dict(model.named_parameters())[key]
        assert not bool(weight.view(torch.int32)[~mask].any()), "zero in every bit"
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert len(compat.adopt(model)) == 0
    # And goes on like any other model: more is removed, nothing comes back.
    more = sc.prune(model, 0.95)
    assert all(bool((~more[key] | mask).all()) for key, mask in masks.items() if key in more)


def test_an_optimizer_built_before_trains_on_with_the_masks() -> None:
    model, rows = linear()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    model(rows).square().mean().backward()
    optimizer.step()
    masks = compat.adopt(model)
    assert sorted(masks) == ["0.bias", "0.weight"]
    with masks.attached(optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            model(rows).square().mean().backward()
            before = model[0].weight.clone()
            optimizer.step()
            assert not torch.equal(model[0].weight, before)
            for key, mask in masks.items():
                assert not bool(dict(model.named_parameters())[key][~mask].any())
    sc.verify(model, masks).require()


def test_other_parametrisations_stay_and_are_named() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 4)), nn.Linear(4, 4))
    assert len(compat.adopt(model)) == 0
    assert hasattr(model[0], "parametrizations")
    with pytest.raises(ValueError, match=r"'0.weight' is not a parameter.*compat.adopt\(model\)"):
        sc.prune(model, 0.5)
