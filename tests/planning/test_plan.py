"""sc.plan: says what prune and convert would do, and does none of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.planning import cost
from tests.support.data import generator, random_mask


def model() -> nn.Sequential:
    made = nn.Sequential(
        nn.Embedding(10, 512), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 12), nn.Linear(12, 10)
    )
    made.add_module("head", nn.Linear(10, 10))
    return made


IDS = [torch.arange(10)]


def loss(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return model(ids).square().mean()


@pytest.mark.parametrize(
    "how",
    [
        {"sparsity": 0.9},
        {"pattern": "2:4"},
        {"sparsity": 0.8, "scope": "global"},
        {"sparsity": 0.7, "scope": "row", "ignore": ["head"]},
        {"sparsity": 0.9, "targets": ["1", "3"]},
        {"sparsity": 0.9, "criterion": "random"},
        {"sparsity": 0.9, "allocation": "erk"},
        {"sparsity": 0.9, "allocation": "lamp"},
        {"allocation": {"1": 0.8, "*": 0.5}},
        {"sparsity": 0.8, "criterion": "snip", "calibration": IDS, "loss": loss},
        {"sparsity": 0.8, "scope": "global", "criterion": "wanda", "calibration": IDS},
        {"sparsity": 0.8, "scope": "global", "criterion": lambda weight: weight.abs()},
    ],
)
def test_sparsities_are_those_prune_gives(how: dict[str, Any]) -> None:
    made = model()
    if how.get("pattern") == "2:4":
        how = {**how, "ignore": ["head"]}
    before = copy.deepcopy(made.state_dict())
    state = torch.get_rng_state()
    plan = sc.plan(made, **how)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, before[name])
    masks = sc.prune(made, **how)
    for layer in plan.layers:
        mask = masks.get(f"{layer.name}.weight")
        assert layer.pruned == (mask is not None)
        if mask is not None:
            assert layer.sparsity == pytest.approx(1 - mask.float().mean().item(), abs=1e-6)


@pytest.mark.parametrize(
    "how",
    [
        {"pattern": "2:4", "criterion": "wanda", "ignore": ["head"]},
        {"sparsity": 0.7, "criterion": "wanda"},
        {"sparsity": 0.7, "criterion": "movement", "scope": "layer"},
        {"sparsity": 0.7, "criterion": "taylor", "scope": "row"},
    ],
)
def test_without_batches_the_counts_are_known_where_layers_do_not_compete(
    how: dict[str, Any],
) -> None:
    made = model()
    plan = sc.plan(made, **how)
    masks = sc.prune(made, **{**how, "criterion": "magnitude", "scope": how.get("scope", "row")})
    for layer in plan.layers:
        if layer.pruned:
            mask = masks[f"{layer.name}.weight"]
            assert layer.sparsity == 1 - int(mask.sum()) / mask.numel()


def test_every_layer_has_a_row_with_a_reason() -> None:
    plan = sc.plan(model(), pattern="2:4", ignore=["4"], rows=(1, 64))
    rows = {layer.name: layer for layer in plan.layers}
    assert list(rows) == ["0", "1", "3", "4", "head"]
    assert rows["0"].reason.startswith("Embedding is not")
    assert rows["1"].sparse
    assert rows["1"].reason.startswith("nm, predicted")
    assert [t.rows for t in rows["1"].timings] == [1, 64]
    assert all(t.predicted for t in rows["1"].timings)
    assert rows["1"].bytes_dense == 512 * 512 * 4 > 1.5 * rows["1"].bytes_sparse
    assert rows["4"].reason == "excluded by targets or ignore"
    assert rows["head"].reason == (
        "not pruned: pattern 2:4 needs in_features divisible by 4, not 10"
    )
    shown = str(plan)
    for text in ("~ms at 1 row", "~ms at 64 rows", "head", "Nothing has been changed", "predicted"):
        assert text in shown


def test_attention_is_planned_by_projection() -> None:
    plan = sc.plan(nn.ModuleDict({"attn": nn.MultiheadAttention(16, 4)}), 0.75)
    assert [(row.name, row.shape, row.sparsity) for row in plan.layers] == [
        ("attn.in_proj.0", (48, 16), 0.75),
        ("attn.out_proj", (16, 16), 0.75),
    ]


def test_convolutions_are_pruned_and_stay_dense() -> None:
    (row,) = sc.plan(nn.Conv2d(4, 8, 3), 0.75).layers
    assert (row.pruned, row.sparse, row.sparsity) == (True, False, 0.75)
    assert row.shape == (8, 36)


def test_without_a_sparsity_the_zeros_there_are_count() -> None:
    made = nn.Linear(512, 512)
    sc.prune(made, 0.9)
    (row,) = sc.plan(made).layers
    assert (row.pruned, row.sparse) == (False, True)
    assert row.sparsity == pytest.approx(0.9, abs=1e-5)


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"sparsity": 1.5}, ValueError, "sparsity"),
        ({"pattern": "4:2"}, ValueError, "N:M"),
        ({"pattern": "unstructured"}, ValueError, "needs a sparsity"),
        ({"sparsity": 0.5, "rows": [0]}, ValueError, "rows: wanted whole numbers"),
        ({"sparsity": 0.5, "ignore": ["x"]}, ValueError, "ignore: 'x' matches nothing"),
        ({"sparsity": 0.5, "criterion": "best"}, ValueError, "unknown criterion 'best'"),
        (
            {"sparsity": 0.5, "criterion": "wanda", "scope": "global"},
            ValueError,
            "'wanda' looks at the inputs of layers: give batches",
        ),
        (
            {"sparsity": 0.5, "criterion": "batchnorm"},
            ValueError,
            "pattern 'unstructured' removes parts of them; use .*pattern=\"channels\"",
        ),
    ],
)
def test_bad_arguments_are_named(how: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        sc.plan(model(), **how)
    with pytest.raises(TypeError, match="model: wanted"):
        sc.plan("model", 0.5)


def test_predictions_move_the_right_way() -> None:
    shape = (3072, 768)
    for rows in (1, 16, 64, 1024):
        speedups = [cost.predict(shape, density, rows).speedup for density in (0.9, 0.5, 0.2, 0.05)]
        assert speedups == sorted(speedups)
        more = cost.predict(shape, 0.2, 2 * rows)
        assert more.dense_ms > cost.predict(shape, 0.2, rows).dense_ms or rows == 1
    assert cost.predict(shape, 1.0, 1024).speedup < 1


def test_predicted_bytes_are_near_the_packed_ones() -> None:
    made = nn.Linear(768, 3072)
    for density in (0.05, 0.3, 0.5):
        with torch.no_grad():
            made.weight.copy_(random_mask(3072, 768, density, generator()))
        packed = sc.SparseLinear.from_dense(made)
        held = packed.values.nbytes + packed.index.nbytes
        predicted = cost.sparse_bytes((3072, 768), 1 - packed.sparsity)
        # Lengths are rounded up to 1/64 of the dense count, and row runs come on top.
        assert predicted <= held <= predicted + 5 * 3072 * 768 // 16
