"""The state_dict of SparseLinear: canonical, repacked on loading, strict about misfits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from tests.nn.layers import linear, with_dense, x_for
from tests.support.data import generator, nm_mask
from tests.support.judge import exact


def test_the_state_is_canonical_whatever_the_format() -> None:
    mask = nm_mask(40, 64, 2, 4, generator())
    layer = linear(40, 64, mask)
    states = [
        sc.SparseLinear.from_dense(layer, mask, format=name).state_dict() for name in ("csr", "nm")
    ]
    for state in states:
        assert set(state) == {"mask", "values", "version", "bias"}
        exact(state["values"], layer.weight.detach()[mask])
        assert state["mask"].numel() == 40 * 64 // 8
    for key, tensor in states[0].items():
        exact(states[1][key], tensor)


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_with_another_mask_is_repacked(assign: bool) -> None:
    target = sc.SparseLinear.from_dense(linear(seed=5))
    values = target.values
    source = linear(40, 64, nm_mask(40, 64, 2, 4, generator(6)))
    state = nn.Sequential(sc.SparseLinear.from_dense(source)).state_dict()
    nn.Sequential(target).load_state_dict(state, assign=assign)
    exact(target.weight, source.weight.detach())
    exact(target(x_for(source, 3)), source(x_for(source, 3)))
    assert target.values is values, "the optimizer would lose the parameter"


def test_a_state_with_the_same_mask_keeps_verdicts_and_index() -> None:
    layer = with_dense("dense")
    index = layer.index.clone()
    state = layer.state_dict()
    state["values"] = state["values"] * 2
    layer.load_state_dict(state)
    exact(layer.index, index)
    exact(layer.dense, linear().weight.detach() * 2)


def test_assign_takes_the_dtype_of_the_state_and_copying_keeps_the_layers() -> None:
    state = sc.SparseLinear.from_dense(linear()).to(torch.bfloat16).state_dict()
    kept = sc.SparseLinear.from_dense(linear(seed=5))
    kept.load_state_dict(state)
    assert kept.values.dtype == torch.float32
    kept.load_state_dict(state, assign=True)
    assert kept.values.dtype == torch.bfloat16
    assert kept.bias.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mask": torch.zeros(5, dtype=torch.uint8)}, r"mask must be 320 bytes"),
        ({"mask": torch.zeros(320, dtype=torch.uint8)}, r"mask keeps 0 weights but values holds"),
        ({"mask": torch.zeros(320)}, r"mask must be 320 bytes \(uint8\)"),
        ({"values": torch.zeros(3)}, r"mask keeps \d+ weights but values holds 3"),
        ({"values": torch.zeros(3, 3)}, r"values must be 1-D and floating"),
        ({"version": torch.tensor(99)}, r"version 99 of the sparse layout was saved"),
        ({"version": torch.ones(3)}, r"version \[1\.0, 1\.0, 1\.0\] of the sparse layout"),
        ({"bias": torch.zeros(3)}, r"bias must be \[40\], got \[3\]"),
        ({"extra": torch.zeros(3)}, r'Unexpected key\(s\) in state_dict: "extra"'),
        ({"values": None}, r'Missing key\(s\) in state_dict: "values"'),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change: dict[str, Tensor | None], match: str) -> None:
    layer = sc.SparseLinear.from_dense(linear())
    state = {k: v for k, v in {**layer.state_dict(), **change}.items() if v is not None}
    before = layer.weight
    with pytest.raises(RuntimeError, match=match):
        layer.load_state_dict(state)
    exact(layer.weight, before)


def test_a_dense_checkpoint_is_refused_with_the_way_out() -> None:
    with pytest.raises(RuntimeError, match=r"0\.weight is a dense weight.*convert that"):
        nn.Sequential(sc.SparseLinear.from_dense(linear())).load_state_dict(
            nn.Sequential(linear()).state_dict()
        )


def test_spare_bits_of_a_mask_must_be_zero() -> None:
    layer = sc.SparseLinear.from_dense(linear(3, 3, torch.ones(3, 3, dtype=torch.bool)))
    state = layer.state_dict()
    state["mask"][1] |= 128
    with pytest.raises(RuntimeError, match="bits set beyond"):
        layer.load_state_dict(state)
