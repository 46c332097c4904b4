"""Pruned under torch's names a model stays a model: keys, leaves, copies, graphs, training."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as theirs

import secateur as sc
from secateur.compat import torch_prune as ours
from tests.pruning.models import mlp


def pruned() -> nn.Sequential:
    model = mlp(8, 16, 3)
    ours.l1_unstructured(model[0], "weight", 0.5)
    ours.l1_unstructured(model[2], "bias", 1)
    return model


def test_names_leaves_and_keys_stay() -> None:
    model = mlp(8, 16, 3)
    keys, before = list(model.state_dict()), dict(model.named_parameters())
    ours.l1_unstructured(model[0], "weight", 0.5)
    assert list(model.state_dict()) == keys
    for name, parameter in model.named_parameters():
        assert parameter is before[name]
        assert parameter.is_leaf
    assert [name for name, _ in model.named_buffers()] == ["0.weight_mask"]
    assert model[0].weight_mask.dtype == torch.bool
    mlp(8, 16, 3).load_state_dict(model.state_dict())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_goes_on_by_itself(copied: Any) -> None:
    model = pruned()
    twin = copied(model)
    assert ours.masks(twin) == ours.masks(model)
    ours.l1_unstructured(twin[0], "weight", 0.5)
    assert int(twin[0].weight_mask.sum()) == 32
    assert int(model[0].weight_mask.sum()) == 64
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(theirs.l1_unstructured(nn.Linear(4, 4), "weight", 1)(torch.ones(4)))


def test_masks_are_held_once() -> None:
    """One byte a weight and nothing else, though the user's mask was of floats."""
    layer = nn.Linear(8, 4)
    mask = torch.ones(4, 8)
    mask[0] = 0
    for _ in range(5):
        ours.custom_from_mask(layer, "weight", mask)
        ours.global_unstructured([(layer, "weight")], ours.L1Unstructured, amount=0.1)
    assert [b.nbytes for b in layer.buffers()] == [32]
    assert len(layer._forward_pre_hooks) == 1
    hook = next(iter(layer._forward_pre_hooks.values()))
    assert vars(hook) == {"name": "weight"}
    mask[:] = 0
    assert bool(layer.weight_mask.any()), "the user's tensor is not the one that is held"


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_loop_that_knows_nothing_trains_as_it_did(kind: str) -> None:
    """The same loop under both libraries: the model computes the same at every step."""
    torch.manual_seed(0)
    one = mlp(8, 16, 3)
    two = copy.deepcopy(one)
    x = torch.randn(20, 8)
    for library, model in ((ours, one), (theirs, two)):
        library.l1_unstructured(model[0], "weight", 0.5)
        library.ln_structured(model[2], "weight", 0.25, 2, dim=1)
    made = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
        "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    }[kind]
    optimizers = [made(model.parameters()) for model in (one, two)]
    for _ in range(6):
        answers = []
        for model, optimizer in zip((one, two), optimizers, strict=True):
            optimizer.zero_grad()
            answers.append(model(x))
            answers[-1].square().mean().backward()
            optimizer.step()
        assert torch.equal(*answers)


def test_zeros_survive_momentum_from_before_when_attached() -> None:
    model = mlp(8, 16, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(5, 8)).square().mean().backward()
    optimizer.step()
    ours.l1_unstructured(model[0], "weight", 0.5)
    ours.l1_unstructured(model[2], "bias", 2)
    held = ours.masks(model)
    with held.attached(optimizer):
        for _ in range(3):
            model(torch.randn(5, 8)).square().mean().backward()
            optimizer.step()
            assert not bool(model[0].weight[~model[0].weight_mask].any())
            assert int(model[2].bias.count_nonzero()) <= 1
            # Pruning more while attached: the same masks, so it holds from now on.
            ours.l1_unstructured(model[0], "weight", 0.1)
            assert held["0.weight"] is model[0].weight_mask


def test_apply_makes_what_an_optimizer_brought_back_zero() -> None:
    model = pruned()
    with torch.no_grad():
        model[0].weight.fill_(torch.inf)
    ours.masks(model).apply_()
    assert bool((model[0].weight[~model[0].weight_mask] == 0).all())
    with torch.no_grad():
        model[0].weight.fill_(1)
    ours.remove(model[0], "weight")
    assert int(model[0].weight.sum()) == 64


def test_remove_leaves_a_plain_module() -> None:
    model = pruned()
    assert ours.is_pruned(model)
    assert ours.is_pruned(model[2])
    assert not ours.is_pruned(model[1])
    for module, name in ((model[0], "weight"), (model[2], "bias")):
        ours.remove(module, name)
    assert not ours.is_pruned(model)
    assert not list(model.buffers())
    assert int((model[0].weight == 0).sum()) == 64
    for module in model:
        assert not module._forward_pre_hooks
        assert not module._non_persistent_buffers_set
    with pytest.raises(ValueError, match="'weight' of Linear is not pruned"):
        ours.remove(model[0], "weight")
    with pytest.raises(ValueError, match="nothing in this model is pruned"):
        ours.masks(model)
    assert ours.is_pruned(theirs.identity(nn.Linear(2, 2), "weight"))


def test_a_module_that_runs_twice_before_the_backward_pass() -> None:
    layer = ours.l1_unstructured(nn.Linear(8, 8), "weight", 0.5)
    layer(torch.relu(layer(torch.randn(3, 8)))).sum().backward()
    assert layer.weight.grad is not None


def test_a_tied_weight_counts_once() -> None:
    encoder, decoder = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
    decoder.weight = encoder.weight
    pairs = [(encoder, "weight"), (decoder, "weight")]
    ours.global_unstructured(pairs, ours.L1Unstructured, amount=10)
    assert int((encoder.weight == 0).sum()) == 10
    assert torch.equal(encoder.weight_mask, decoder.weight_mask)
    ours.global_unstructured(iter(pairs), ours.L1Unstructured, amount=0.5)
    assert int((encoder.weight == 0).sum()) == 17


def test_it_converts_without_its_hooks() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    ours.l1_unstructured(model[0], "weight", 0.9)
    seen: list[int] = []
    model[0].register_forward_pre_hook(lambda module, inputs: seen.append(1))
    x = torch.randint(-4, 5, (3, 64)).float()
    fast = sc.convert(model, x, gate="always")
    assert isinstance(fast[0], sc.SparseLinear)
    assert len(fast[0]._forward_pre_hooks) == 1
    seen.clear()
    torch.testing.assert_close(fast(x), model(x))
    assert len(seen) == 2, "the user's hook runs in both"
    assert not ours.is_pruned(fast)
    assert ours.is_pruned(model)
    assert not ours.is_pruned(sc.to_dense(fast))


def test_it_compiles_whole_and_still_forgets() -> None:
    model = pruned()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    twin = copy.deepcopy(model)
    other = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.9)
    x = torch.randint(-2, 3, (4, 8)).float()
    for _ in range(2):
        for net, steps in ((compiled, optimizer), (twin, other)):
            steps.zero_grad()
            net(x).sum().backward()
            steps.step()
    compiled(x)
    twin(x)
    assert not bool(model[0].weight[~model[0].weight_mask].any())
    torch.testing.assert_close(model[0].weight, twin[0].weight)


def test_an_exported_model_has_no_trace_of_it() -> None:
    model = pruned()
    x = torch.randn(2, 8)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda m: ours.l1_unstructured(m, "weight", 50.0), ValueError, "did you mean 0.5"),
        (lambda m: ours.l1_unstructured(m, "weight", -0.1), ValueError, r"\[0, 1\], not -0.1"),
        (lambda m: ours.l1_unstructured(m, "weight", -1), ValueError, "at least 0"),
        (lambda m: ours.l1_unstructured(m, "weight", 33), ValueError, "more than the 32"),
        (lambda m: ours.l1_unstructured(m, "weight", True), TypeError, "not True"),
        (lambda m: ours.l1_unstructured(m, "weight", "half"), TypeError, "not 'half'"),
        (lambda m: ours.l1_unstructured(m, "wieght", 1), ValueError, "no parameter 'wieght'.*'b"),
        (lambda m: ours.ln_structured(m, "bias", 1, 2, 0), ValueError, "at least 2 dimensions"),
        (lambda m: ours.ln_structured(m, "weight", 1, 2, 2), IndexError, "dim=2"),
        (lambda m: ours.custom_from_mask(m, "weight", torch.ones(3)), ValueError, r"\[4, 8\]"),
        (
            lambda m: ours.l1_unstructured(m, "weight", 1, torch.ones(3)),
            ValueError,
            r"must be \[4, 8\], not \[3\]",
        ),
        (
            lambda m: ours.l1_unstructured(m, "weight", 1, torch.full((4, 8), torch.nan)),
            ValueError,
            "Linear.weight has a NaN",
        ),
        (
            lambda m: ours.global_unstructured([(m, "weight")], ours.LnStructured, amount=1, n=2),
            TypeError,
            "PRUNING_TYPE",
        ),
        (lambda m: ours.global_unstructured(3, ours.L1Unstructured, amount=1), TypeError, "pairs"),
        (
            lambda m: ours.global_unstructured(
                [(m, "weight"), (m, "nothing")], ours.L1Unstructured, amount=1
            ),
            ValueError,
            "no parameter 'nothing'",
        ),
        (
            lambda m: ours.l1_unstructured(m.to("meta"), "weight", 1),
            ValueError,
            "on meta",
        ),
    ],
)
def test_bad_input_leaves_the_module_alone(call: Any, error: type[Exception], says: str) -> None:
    layer = nn.Linear(8, 4)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    with pytest.raises(error, match=says):
        call(layer)
    assert not ours.is_pruned(layer)
    assert not list(layer.buffers())
    for name, tensor in layer.state_dict().items():
        assert tensor.is_meta or torch.equal(tensor, before[name])


def test_a_weight_that_torch_has_pruned_names_the_way_out() -> None:
    layer = theirs.l1_unstructured(nn.Linear(8, 4), "weight", 0.5)
    with pytest.raises(ValueError, match=r"secateur.compat.adopt\(module\)"):
        ours.l1_unstructured(layer, "weight", 0.5)
    taken = nn.Linear(8, 4)
    taken.register_buffer("weight_mask", torch.ones(4, 8))
    with pytest.raises(ValueError, match="weight_mask of its own"):
        ours.l1_unstructured(taken, "weight", 0.5)
