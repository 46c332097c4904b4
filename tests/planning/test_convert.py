"""sc.convert: which layers become sparse, that answers stay, and that nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import secateur as sc
from tests.planning.models import WIDTH, kinds, layer, mlp, reason, x_of
from tests.support.data import generator, random_mask
from tests.support.judge import exact


def state_of(model: nn.Module) -> dict[str, Any]:
    """Everything that must not change: identities, values, modes, hooks."""
    return {
        name: (
            type(module),
            module.training,
            {
                k: (id(p), p.detach().clone(), p.requires_grad)
                for k, p in module._parameters.items()
                if p is not None
            },
            {k: id(m) for k, m in module._modules.items()},
            len(module._forward_pre_hooks),
            len(module._forward_hooks),
        )
        for name, module in model.named_modules()
    }


def same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    for name, (kind, mode, parameters, children, *hooks) in before.items():
        kind2, mode2, parameters2, children2, *hooks2 = after[name]
        assert (kind, mode, children, hooks) == (kind2, mode2, children2, hooks2), name
        for key, (identity, value, grad) in parameters.items():
            assert (identity, grad) == (parameters2[key][0], parameters2[key][2])
            exact(parameters2[key][1], value)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("way", ["always", "model", "measured"])
def test_answers_stay_and_the_model_is_left_alone(mode: bool, way: str) -> None:
    model = mlp().train(mode)
    before = state_of(model)
    fast = sc.convert(model, x_of(5, WIDTH), gate=way)
    same_state(before, state_of(model))
    exact(fast(x_of(5, WIDTH)), model(x_of(5, WIDTH)))
    assert all(m.training == mode for m in fast.modules())
    mine, theirs = ({p.data_ptr() for p in m.parameters()} for m in (fast, model))
    assert not mine & theirs, "the result shares memory with the model"
    if way == "always":
        assert kinds(fast) == ["0", "3"]


def test_in_place_swaps_within_the_model() -> None:
    model = mlp()
    wanted = model(x_of(5, WIDTH))
    dense = model[2]
    assert sc.convert(model, x_of(5, WIDTH), gate="always", inplace=True) is model
    assert kinds(model) == ["0", "3"]
    assert model[2] is dense
    exact(model(x_of(5, WIDTH)), wanted)


def test_a_model_that_is_one_layer() -> None:
    fast = sc.convert(layer(), gate="always")
    assert isinstance(fast, sc.SparseLinear)
    exact(fast(x_of(2, WIDTH)), layer()(x_of(2, WIDTH)))
    assert "(model)" in str(sc.explain(fast))
    with pytest.raises(ValueError, match="inplace: the model is itself"):
        sc.convert(layer(), gate="always", inplace=True)


class Asks(nn.Module):
    """Takes two inputs, one by keyword, and calls a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = layer()
        self.second = layer()
        self.unused = layer()

    def forward(self, x: Tensor, *, other: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        return self.second(self.first(x).relu()) + self.second(input=other).sum()


@pytest.mark.parametrize(
    ("inputs", "first", "second"),
    [
        ({"x": x_of(2, 3, WIDTH), "other": x_of(9, WIDTH)}, [6], [6, 9]),
        (
            [
                {"x": x_of(WIDTH), "other": x_of(9, WIDTH)},
                {"x": x_of(4, WIDTH), "other": x_of(0, WIDTH)},
            ],
            [1, 4],
            [1, 4, 9],
        ),
    ],
)
def test_row_counts_are_those_the_layers_see(
    inputs: Any, first: list[int], second: list[int]
) -> None:
    model = Asks()
    fast = sc.convert(model, inputs, gate="model")
    rows = {note.name: note.rows for note in sc.explain(fast).layers}
    assert rows == {"first": first, "second": second, "unused": []}
    assert reason(fast, "unused") == "example_inputs never call it"
    assert model.training


def test_tuples_are_arguments_and_further_rows_are_judged_too() -> None:
    model = nn.Bilinear(WIDTH, WIDTH, 3)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.pair = layer(), layer(), model

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.pair(self.a(x), self.b(y))

    fast = sc.convert(Two(), (x_of(3, WIDTH), x_of(3, WIDTH)), rows=[1, 200], gate="model")
    notes = {note.name: note for note in sc.explain(fast).layers}
    assert [t.rows for t in notes["a"].timings] == [1, 3, 200]
    assert notes["pair"].reason.startswith("Bilinear is not nn.Linear")


def test_a_module_used_under_two_names_is_swapped_once() -> None:
    shared = layer()
    model = nn.Sequential(shared, nn.ReLU(), shared)
    fast = sc.convert(model, x_of(5, WIDTH), gate="always")
    assert fast[0] is fast[2]
    assert isinstance(fast[0], sc.SparseLinear)
    exact(fast(x_of(5, WIDTH)), model(x_of(5, WIDTH)))
    sc.convert(model, gate="always", inplace=True)
    assert model[0] is model[2]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, WIDTH)
        self.body = layer()
        self.lm_head = nn.Linear(WIDTH, 100, bias=False)
        self.lm_head.weight = self.embed.weight
        with torch.no_grad():
            self.embed.weight.mul_(random_mask(100, WIDTH, 0.2, generator()))

    def forward(self, ids: Tensor) -> Tensor:
        return self.lm_head(self.body(self.embed(ids)))


def test_tied_weights_stay_tied() -> None:
    model = Tied()
    ids = torch.arange(10)
    fast = sc.convert(model, ids, gate="always")
    assert kinds(fast) == ["body"]
    assert fast.lm_head.weight is fast.embed.weight
    assert reason(fast, "lm_head") == (
        "shares a parameter with 'embed.weight'; packing it would part the two"
    )
    torch.testing.assert_close(fast(ids), model(ids))


def test_parameters_out_of_one_storage_are_not_tied() -> None:
    """Weights read from one file share its memory and have nothing else in common."""
    model = nn.Sequential(layer(), layer())
    whole = torch.cat([m.weight.detach().flatten() for m in model])
    for part, m in zip(whole.chunk(2), model, strict=True):
        m.weight = nn.Parameter(part.view(WIDTH, WIDTH))
    assert kinds(sc.convert(model, gate="always")) == ["0", "1"]


def test_layers_pruned_elsewhere_convert_as_they_are() -> None:
    class Half(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * (torch.arange(weight.numel()).reshape(weight.shape) % 3 == 0)

    full = torch.ones(WIDTH, WIDTH, dtype=torch.bool)
    by_torch, by_hand = layer(mask=full), layer(mask=full)
    model = nn.Sequential(by_torch, nn.Hardtanh(-4, 4), by_hand, layer(mask=full))
    prune.l1_unstructured(by_torch, "weight", 0.8)
    prune.random_unstructured(model[3], "weight", 0.1)
    parametrize.register_parametrization(by_hand, "weight", Half())
    wanted = model(x_of(5, WIDTH))
    for inputs in (None, x_of(5, WIDTH)):
        fast = sc.convert(model, inputs, gate="always")
        assert kinds(fast) == ["0", "2"]
        exact(fast(x_of(5, WIDTH)), wanted)
        assert not fast[0]._forward_pre_hooks, "torch.nn.utils.prune's hook came along"


def test_a_layer_with_a_forward_of_its_own_stays() -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = nn.Sequential(Scaled(WIDTH, WIDTH), layer())
    sc.prune(model, 0.8)
    fast = sc.convert(model, gate="always")
    assert kinds(fast) == ["1"]
    assert reason(fast, "0") == "Scaled has a forward of its own"


def test_hooks_move_with_the_layer() -> None:
    model = mlp()
    seen: list[str] = []
    handle = model[0].register_forward_hook(lambda *_: seen.append("after"))
    model[0].register_forward_pre_hook(lambda *_: seen.append("before"))
    fast = sc.convert(model, gate="always")
    fast(x_of(5, WIDTH))
    assert seen == ["before", "after"]
    sc.convert(model, gate="always", inplace=True)
    handle.remove()
    seen.clear()
    model(x_of(5, WIDTH))
    assert seen == ["before"], "the user's handle no longer reaches the hook"


def test_targets_and_ignore() -> None:
    def converted(**options: Any) -> list[str]:
        return kinds(sc.convert(nn.Sequential(layer(), layer(), layer()), gate="always", **options))

    assert converted() == ["0", "1", "2"]
    assert converted(targets=["1"]) == ["1"]
    assert converted(targets="re:[01]", ignore=["0"]) == ["1"]
    assert converted(ignore=["2.weight"]) == ["0", "1"]
    assert converted(targets=lambda name, module: name == "2") == ["2"]
    assert converted(targets=nn.Linear, ignore=nn.Linear) == []
    with pytest.raises(ValueError, match=r"targets: 'head' matches nothing; .*'0', '1', '2'"):
        converted(targets=["head"])
    with pytest.raises(ValueError, match=r"ignore: 'head' matches nothing"):
        converted(ignore=["head"])


def test_every_layer_is_accounted_for() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 3, 3),
        layer(),
        nn.Linear(8, 8),
        nn.Embedding(5, 3),
        nn.LayerNorm(8),
        nn.LSTM(3, 3),
    )
    fast = sc.convert(model, gate="always", ignore=["1"])
    assert {note.name: note.reason for note in sc.explain(fast).layers} == {
        "0": "sparsity 0.00 is below 0.3",
        "1": "excluded by targets or ignore",
        "2": "sparsity 0.00 is below 0.3",
        "3": "Embedding is not nn.Linear, nn.Conv2d, nn.Conv1d or Hugging Face Conv1D",
        "5": "LSTM is not nn.Linear, nn.Conv2d, nn.Conv1d or Hugging Face Conv1D",
    }


def test_a_model_without_layers_is_no_error() -> None:
    assert isinstance(sc.convert(nn.ReLU(), torch.ones(3)), nn.ReLU)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"model": 3}, TypeError, "model: wanted a torch.nn.Module, got int"),
        ({"gate": "fast"}, ValueError, "gate: wanted 'measured', 'model' or 'always', got 'fast'"),
        ({"objective": "size"}, ValueError, "objective: wanted 'speed' or 'memory'"),
        ({"rows": [0]}, ValueError, "rows: wanted whole numbers of at least 1, got 0"),
        ({"rows": [2.5]}, ValueError, r"rows: wanted whole numbers of at least 1, got 2\.5"),
        ({"rows": 5}, TypeError, "rows: wanted a collection of whole numbers, got 5"),
        ({"example_inputs": None}, ValueError, "example_inputs: wanted inputs to run the model on"),
        (
            {"example_inputs": torch.ones(3, 5)},
            ValueError,
            r"example_inputs: wanted inputs the model runs on.*mat1 and mat2",
        ),
    ],
)
@pytest.mark.parametrize("inplace", [False, True])
def test_bad_arguments_are_named_and_the_model_stays(
    change: dict[str, Any], error: type[Exception], match: str, inplace: bool
) -> None:
    model = mlp()
    before = state_of(model)
    arguments = {"model": model, "example_inputs": x_of(3, WIDTH), **change}
    with pytest.raises(error, match=match):
        sc.convert(**arguments, inplace=inplace)
    same_state(before, state_of(model))
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_lazy_model_is_not_given_its_shapes() -> None:
    model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(ValueError, match=r"model: '0\.weight' has no shape yet"):
        sc.convert(model, torch.ones(2, 3))
    assert isinstance(model[0], nn.LazyLinear)


def test_random_numbers_of_the_user_are_not_consumed() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand(())

    model = nn.Sequential(layer(), Noisy())
    state = torch.get_rng_state()
    sc.convert(model, x_of(2, WIDTH))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("inplace", [False, True])
def test_whatever_fails_the_model_stays(monkeypatch: pytest.MonkeyPatch, inplace: bool) -> None:
    model = mlp()
    before = state_of(model)
    for where, raised in (
        ("secateur.planning.gate.measure", MemoryError),
        ("secateur.nn.convert.settle", KeyboardInterrupt),
        ("secateur.planning.machine.describe", MemoryError),
    ):

        def fail(*args: object, kind: type[BaseException] = raised, **options: object) -> None:
            raise kind

        with monkeypatch.context() as patch:
            patch.setattr(where, fail)
            with pytest.raises(raised):
                sc.convert(
                    model,
                    x_of(5, WIDTH),
                    rows=[7],
                    inplace=inplace,
                    gate="measured" if "gate" in where else "always",
                )
        same_state(before, state_of(model))


def test_a_model_that_cannot_be_copied_is_named() -> None:
    model = mlp()
    model.lock = (i for i in range(3))
    with pytest.raises(TypeError, match=r"model: Sequential cannot be copied.*use inplace=True"):
        sc.convert(model, gate="always")
    sc.convert(model, gate="always", inplace=True)
    assert kinds(model) == ["0", "3"]


def test_progress_is_told_before_each_layer() -> None:
    told: list[tuple[int, int, str]] = []
    sc.convert(mlp(), gate="always", progress=lambda *step: told.append(step))
    assert told == [(0, 3, "0"), (1, 3, "2"), (2, 3, "3")]


def test_converting_again_leaves_what_is_sparse() -> None:
    fast = sc.convert(mlp(), x_of(5, WIDTH), gate="model", rows=[64])
    sparse = sc.convert(mlp(), x_of(5, WIDTH), gate="always")
    again = sc.convert(sparse, x_of(5, WIDTH), gate="model")
    assert kinds(again) == kinds(sparse)
    assert reason(again, "0") == "gate='always'"
    exact(again(x_of(5, WIDTH)), fast(x_of(5, WIDTH)))


def test_there_and_back() -> None:
    model = mlp()
    fast = sc.convert(model, gate="always")
    back = sc.to_dense(fast)
    assert [type(m) for m in back] == [type(m) for m in model]
    for name, tensor in model.state_dict().items():
        exact(back.state_dict()[name], tensor)
    assert kinds(fast) == ["0", "3"]
