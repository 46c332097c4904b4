"""What makes no sense is refused with a way out, and the model is then as it was."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.training import RigL, attached
from tests.pruning.models import Zoo, mlp


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def assert_same(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    now = model.state_dict()
    assert list(now) == list(before)
    for key, tensor in now.items():
        assert tensor.is_meta or torch.equal(tensor.nan_to_num(), before[key].nan_to_num())


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "per cent": ({"sparsity": 50}, "did you mean 0.5"),
    "per cent, of nothing": ({"sparsity": 90.0}, "did you mean 0.9"),
    "all": ({"sparsity": 1.0}, "1 would remove every weight"),
    "negative": ({"sparsity": -0.1}, r"in \[0, 1\), not -0.1"),
    "infinite": ({"sparsity": math.inf}, r"in \[0, 1\), not inf"),
    "N:M the other way round": ({"pattern": "4:2"}, 'did you mean "2:4"'),
    "N:M of nothing": ({"pattern": "0:4"}, "1 <= N <= M"),
    "N:M on an odd axis": ({"pattern": "2:4"}, r"divisible by 4, not 10.*ignore=\['2'\]"),
    "an unknown pattern": ({"pattern": "2to4"}, "unknown pattern '2to4'; known"),
    "no selector": ({"sparsity": 0.5, "targets": []}, r"targets=\[\].*prunable layers are '0'"),
    "an empty name": ({"sparsity": 0.5, "targets": ""}, "targets: '' matches"),
    "a name that is nearly right": (
        {"sparsity": 0.5, "targets": "2.wieght"},
        "'2.wieght' matches nothing",
    ),
    "a layer that is nearly right": ({"sparsity": 0.5, "ignore": "00"}, "ignore: '00' matches"),
    "a glob that means nothing": ({"sparsity": 0.5, "targets": "decoder.*"}, "matches nothing"),
    "everything ignored": ({"sparsity": 0.5, "ignore": "*"}, "leave no layer"),
    "an unknown criterion": ({"sparsity": 0.5, "criterion": "size"}, "unknown criterion 'size'"),
}


@pytest.mark.parametrize("call", [sc.prune, sc.plan])
@pytest.mark.parametrize("what", WRONG)
def test_it_is_refused_with_a_way_out(what: str, call: Any) -> None:
    arguments, says = WRONG[what]
    model = mlp(16, 10, 4)
    before = state(model)
    if call is sc.plan and what == "N:M on an odd axis":
        assert "divisible by 4, not 10" in str(sc.plan(model, **arguments))
    else:
        with pytest.raises(ValueError, match=says):
            call(model, **arguments)
    assert_same(model, before)


def test_a_name_that_is_nearly_right_names_its_neighbours() -> None:
    with pytest.raises(ValueError, match=r"'block.1' matches nothing; near it: 'blocks.1'"):
        sc.prune(Zoo(), 0.5, targets="block.1")


def test_a_nan_is_named_and_an_infinity_is_a_weight() -> None:
    model = mlp(8, 8, 8)
    with torch.no_grad():
        model[2].weight[3, 3] = math.nan
    before = state(model)
    for call in (sc.prune, sc.plan):
        with pytest.raises(ValueError, match=r"'2.weight'"):
            call(model, 0.5)
        assert_same(model, before)
    with torch.no_grad():
        model[2].weight[3, 3] = math.inf
    masks = sc.prune(model, 0.5)
    assert bool(masks["2.weight"][3, 3])
    assert bool((model[2].weight[~masks["2.weight"]] == 0).all())


def test_a_model_without_values() -> None:
    model = mlp(8, 8).to("meta")
    with pytest.raises(ValueError, match=r"'0.weight' is on the meta device: load its values"):
        sc.prune(model, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="on the meta device"):
        sc.GradualPruner(model, optimizer, sc.schedules.one_shot(0.5))


def test_an_optimizer_that_does_not_own_the_weights() -> None:
    model, twin = mlp(8, 8, 4), mlp(8, 8, 4)
    masks = sc.prune(model, 0.5)
    before = state(model)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for make in (
        lambda: masks.attached(optimizer),
        lambda: attached(masks, optimizer),
        lambda: sc.GradualPruner(model, optimizer, sc.schedules.one_shot(0.9)),
    ):
        with pytest.raises(ValueError, match="build it from the model that"):
            make()
    with pytest.raises(ValueError, match=r"does not hold 0\.weight"):
        RigL(masks, optimizer, end=10)
    assert_same(model, before)
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("scope", ["layer", "row", "global"])
@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_a_second_prune_removes_among_what_is_left(criterion: str, scope: str) -> None:
    """Whatever the criterion makes of a zero: what is removed is among what is removed next."""
    model = mlp(16, 12, 8)
    draws = torch.Generator().manual_seed(0)
    how = {"criterion": criterion, "scope": scope, "generator": draws}
    removed: dict[str, torch.Tensor] = {}
    for sparsity in (0.25, 0.5, 0.75):
        masks = sc.prune(model, sparsity, **how)
        for key, parameter in masks.parameters().items():
            assert not bool((masks[key] & removed.get(key, torch.zeros_like(masks[key]))).any())
            assert torch.equal(parameter == 0, ~masks[key])
            removed[key] = ~masks[key]
    sc.prune(model, 0.25, **how)
    for key, parameter in masks.parameters().items():
        assert torch.equal(parameter == 0, removed[key]), "less was asked for: nothing comes back"


def test_a_layer_that_starts_at_zero_is_not_a_pruned_one() -> None:
    layer = nn.Linear(64, 64)
    nn.init.zeros_(layer.weight)
    draws = torch.Generator().manual_seed(0)
    mask = sc.prune(layer, 0.5, criterion="random", generator=draws)["weight"]
    assert 0 < int(mask[:32].sum()) < 2048, "not by index: random"


@pytest.mark.parametrize("criterion", ["wanda", "ria", "taylor", "snip", "synflow", "movement"])
def test_a_criterion_without_what_it_looks_at(criterion: str) -> None:
    model = mlp(16, 10, 4)
    before = state(model)
    with pytest.raises(ValueError, match=rf"{criterion}.*(calibration|GradualPruner|\.grad)"):
        sc.prune(model, 0.5, criterion=criterion)
    assert_same(model, before)


def test_a_unit_is_gone_only_if_all_of_it_is_zero() -> None:
    layer = nn.Linear(8, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([4.0, 3.0, 2.0, 1.0])[:, None].expand(4, 8))
        layer.weight[0, 0] = 0
        layer.weight[3] = 0
    masks = sc.prune(layer, 0.5, criterion="random", pattern="channels")
    assert not bool(masks["weight"][3].any()), "it was removed before"
    layer.weight.data[:] = torch.tensor([4.0, 3.0, 2.0, 1.0])[:, None]
    layer.weight.data[0, 0] = 0
    assert sc.prune(layer, 0.5, pattern="channels")["weight"].all(1).tolist() == [
        True,
        True,
        False,
        False,
    ]
