from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from benchmarks import peers, subject
from benchmarks.machine import Caches
from benchmarks.peers import BASELINES, CONVS, INT8, PEERS, Absent, prepare, prepare_convs
from benchmarks.subject import Binder, Call
from secateur._registry import Registry
from tests.support import data


def pruned(out: int = 24, in_: int = 40) -> Tensor:
    mask = data.random_mask(out, in_, 0.3, data.generator())
    return data.reals((out, in_), data.generator(1)) * mask


@pytest.mark.parametrize("name", [*BASELINES.names(), *PEERS.names()])
@pytest.mark.parametrize("cold", [False, True])
def test_a_library_is_right_or_says_why_not(
    name: str, cold: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Caches of 16 KB, so that a handful of copies exceeds them.
    monkeypatch.setattr(subject, "COLD_BYTES", 1 << 14)
    monkeypatch.setattr(subject, "caches", lambda: Caches(l3=1 << 13))
    table = BASELINES if name in BASELINES.names() else PEERS
    one: Registry[peers.Prepare] = Registry("library", "benchmarks.peers")
    one.register(name)(table.get(name))
    ready, absent = prepare(one, pruned(), cold)
    if absent:
        assert absent[name]
        pytest.skip(f"{name}: {absent[name]}")
    for rows in (1, 5):
        for binder in ready[name][:2]:
            call = binder(torch.randn(rows, 40))
            call()
    assert len(ready[name]) > 1 if cold else len(ready[name]) == 1


def test_dense_int8_is_near_the_dense_layer() -> None:
    weight, x = pruned(), data.reals((3, 40), data.generator(2))
    ready, absent = prepare(INT8, weight, cold=False)
    if absent:
        pytest.skip(str(absent))
    # Both are rounded to 1/127 of their largest; the tensor's one scale serves all of its rows.
    steps = weight.abs().max() * x.abs().sum(1) + x.abs().max() * weight.abs().sum(1).max()
    y = ready["int8"][0](x)()
    assert isinstance(y, Tensor)
    assert bool(((y - x @ weight.T).abs() <= steps[:, None] / 127).all())


def test_a_library_that_computes_something_else_is_not_timed() -> None:
    table: Registry[peers.Prepare] = Registry("library", "benchmarks.peers")

    @table.register("wrong")
    def wrong(weight: Tensor, cold: bool) -> Sequence[Binder]:
        def bind(x: Tensor) -> Call:
            return lambda: x @ weight.T + 1

        return [bind]

    @table.register("missing")
    def missing(weight: Tensor, cold: bool) -> Sequence[Binder]:
        peers.need("sys", "a_package_that_nobody_has")
        raise AssertionError("not reached")

    ready, absent = prepare(table, pruned(), cold=False)
    assert not ready
    assert absent["wrong"].startswith("its result is not x W.T")
    assert absent["missing"] == "a_package_that_nobody_has is not installed"


@pytest.mark.parametrize("name", CONVS.names())
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_library_convolves_or_says_why_not(name: str, kernel: int, stride: int) -> None:
    gen = data.generator()
    conv = nn.Conv2d(8, 16, kernel, stride, kernel // 2, bias=False).eval().requires_grad_(False)
    weight = data.reals(conv.weight.shape, gen) * (
        torch.rand(conv.weight.shape, generator=gen) < 0.1
    )
    one: Registry[peers.PrepareConv] = Registry("library", "benchmarks.peers")
    one.register(name)(CONVS.get(name))
    ready, absent = prepare_convs(conv, weight, data.reals((2, 8, 9, 9), gen), one)
    if absent:
        assert absent[name]
        pytest.skip(f"{name}: {absent[name]}")
    ready[name]()


def test_a_library_that_convolves_something_else_is_not_timed() -> None:
    table: Registry[peers.PrepareConv] = Registry("library", "benchmarks.peers")

    @table.register("wrong")
    def wrong(conv: nn.Conv2d, x: Tensor) -> Call:
        return lambda: conv(x) + 1

    conv = nn.Conv2d(4, 6, 3, bias=False).requires_grad_(False)
    ready, absent = prepare_convs(
        conv, conv.weight * 1, data.reals((1, 4, 5, 5), data.generator()), table
    )
    assert not ready
    assert absent["wrong"].endswith("is further off than rounding explains")


def test_blocks_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(Absent, match=r"\[6, 8\] does not fall into blocks of \[4, 4\]"):
        PEERS.get("torch_bsr")(torch.ones(6, 8), False)
