"""SparseLinear against nn.Linear on one masked weight: integer data, equal to the last bit."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import secateur as sc
from secateur.formats import DEFAULT_LAYOUT, FORMATS, Header
from secateur.nn.packing import choose, n_of_m
from tests.nn.layers import linear, with_dense, x_for
from tests.support.data import (
    generator,
    integers,
    mask_for,
    masks,
    nm_mask,
    random_mask,
)
from tests.support.judge import exact


class Conv1D(nn.Module):
    """What transformers calls Conv1D: a linear layer whose weight is [in, out]."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.zeros(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (40, 1), (33, 65), (513, 200)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_what_the_dense_layer_does(shape: tuple[int, int], bias: bool) -> None:
    for kind, mask in masks(*shape, generator()).items():
        layer = linear(*shape, mask)
        if not bias:
            layer.bias = None
        sparse = sc.SparseLinear.from_dense(layer, mask)
        for lead in ((), (1,), (0,), (3,), (2, 0), (2, 3), (17,)):
            x = x_for(layer, *lead)
            exact(sparse(x), layer(x))
        exact(sparse.weight, layer.weight.detach())
        exact(sparse.mask, mask)
        assert sparse.sparsity == pytest.approx(1 - int(mask.sum()) / mask.numel()), kind


def test_it_has_the_dense_signature() -> None:
    layer = linear()
    sparse = sc.SparseLinear.from_dense(layer)
    assert (sparse.in_features, sparse.out_features) == (64, 40)
    assert "in_features=64, out_features=40, bias=True" in repr(sparse)
    assert "format=csr" in repr(sparse)
    for other in (layer.weight, layer.weight.detach()):
        with pytest.raises((AttributeError, KeyError)):
            sparse.weight = other
    exact(F.linear(x_for(layer, 3), sparse.weight, sparse.bias), layer(x_for(layer, 3)))


def test_the_dense_layer_is_left_alone_and_shares_nothing() -> None:
    layer = linear()
    before = copy.deepcopy(layer.state_dict())
    sparse = sc.SparseLinear.from_dense(layer)
    with torch.no_grad():
        for parameter in sparse.parameters():
            parameter.add_(1)
    for name, tensor in layer.state_dict().items():
        exact(tensor, before[name])


def test_training_mode_and_frozen_weights_carry_over() -> None:
    layer = linear().eval().requires_grad_(False)
    sparse = sc.SparseLinear.from_dense(layer)
    assert not sparse.training
    assert not any(p.requires_grad for p in sparse.parameters())
    back = sparse.to_dense()
    assert not back.training
    assert not any(p.requires_grad for p in back.parameters())


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (3, 8), (8, 16), (5, 16)])
def test_a_mask_that_obeys_n_of_m_is_packed_as_nm(n: int, m: int) -> None:
    mask = nm_mask(40, 64, n, m, generator())
    assert n_of_m(mask, inferred=False) == (n, m)
    weight = torch.where(mask, 1.0 + integers((40, 64), generator(2)).abs(), 0.0)
    layer = linear(40, 64, mask)
    layer.weight = nn.Parameter(weight)
    sparse = sc.SparseLinear.from_dense(layer)
    assert sparse.format == "nm"
    exact(sparse(x_for(layer, 5)), layer(x_for(layer, 5)))


def test_a_mask_one_weight_short_of_n_of_m_keeps_its_exact_positions() -> None:
    """Nm would fill the free slot, and training would then wake a pruned weight."""
    mask = nm_mask(40, 64, 2, 4, generator())
    mask[0, int(mask[0].nonzero()[0])] = False
    assert choose(mask, inferred=False) == "csr"
    exact(sc.SparseLinear.from_dense(linear(40, 64, mask), mask).mask, mask)
    # From zeros alone it cannot be told from a kept weight that is zero by chance.
    assert choose(mask, inferred=True) == "nm"


def test_unstructured_masks_are_not_taken_for_n_of_m() -> None:
    for density in (0.05, 0.3, 0.5, 0.9):
        assert choose(random_mask(64, 256, density, generator()), inferred=True) == "csr"
    assert choose(torch.zeros(8, 64, dtype=torch.bool), inferred=True) == "csr"
    assert choose(torch.ones(8, 64, dtype=torch.bool), inferred=True) == "csr"


def test_every_format_can_be_asked_for() -> None:
    for name in FORMATS.names():
        mask = mask_for(name, 40, 64, generator())
        layer = linear(40, 64, mask)
        sparse = sc.SparseLinear.from_dense(layer, mask, format=name)
        assert sparse.format == name
        exact(sparse(x_for(layer, 3)), layer(x_for(layer, 3)))


def test_a_given_mask_drops_weights_and_keeps_zeros() -> None:
    layer = linear(mask=torch.ones(40, 64, dtype=torch.bool))
    mask = random_mask(40, 64, 0.5, generator(3))
    sparse = sc.SparseLinear.from_dense(layer, mask.float())
    exact(sparse.mask, mask)
    x = x_for(layer, 3)
    exact(sparse(x), F.linear(x, layer.weight * mask, layer.bias))


def test_conv1d_is_a_linear_layer_on_its_side() -> None:
    layer = Conv1D(40, 64)
    dense = linear()
    layer.weight = nn.Parameter(dense.weight.detach().T.contiguous())
    layer.bias = dense.bias
    sparse = sc.SparseLinear.from_dense(layer)
    assert (sparse.in_features, sparse.out_features) == (64, 40)
    exact(sparse(x_for(dense, 3)), layer(x_for(dense, 3)))


def test_torch_prunes_mask_is_the_mask() -> None:
    layer = linear(mask=torch.ones(40, 64, dtype=torch.bool))
    mask = random_mask(40, 64, 0.5, generator(3))
    wanted = F.linear(x_for(layer, 3), layer.weight * mask, layer.bias)
    prune.custom_from_mask(layer, "weight", mask)
    sparse = sc.SparseLinear.from_dense(layer)
    exact(sparse.mask, mask)
    exact(sparse(x_for(layer, 3)), wanted)


def test_a_parametrised_weight_converts_as_the_forward_sees_it() -> None:
    class Masked(nn.Module):
        def __init__(self, mask: Tensor) -> None:
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, weight: Tensor) -> Tensor:
            return weight * self.mask

    layer = linear(mask=torch.ones(40, 64, dtype=torch.bool))
    parametrize.register_parametrization(
        layer, "weight", Masked(random_mask(40, 64, 0.5, generator(3)))
    )
    sparse = sc.SparseLinear.from_dense(layer)
    exact(sparse(x_for(layer, 3)), layer(x_for(layer, 3)))


def test_infinities_at_pruned_positions_do_not_count() -> None:
    layer = linear()
    layer.weight.data[:, 5] = 0
    x = x_for(layer, 3)
    clean = layer(x)
    x[:, 5] = float("inf")
    exact(sc.SparseLinear.from_dense(layer)(x), clean)


def gradients(module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    y = module(x)
    (y * torch.arange(y.numel()).reshape(y.shape).remainder(5).float()).sum().backward()
    assert x.grad is not None
    assert isinstance(module.bias, Tensor)
    assert module.bias.grad is not None
    return y, x.grad, module.bias.grad


@pytest.mark.parametrize("pattern", ["csr", "nm"])
def test_gradients_are_the_dense_ones_at_kept_positions(pattern: str) -> None:
    mask = nm_mask(40, 64, 2, 4, generator()) if pattern == "nm" else None
    layer = linear(40, 64, mask)
    sparse = sc.SparseLinear.from_dense(layer, mask, format=pattern)
    kept = sparse.mask
    x = x_for(layer, 2, 3)
    for wanted, got in zip(gradients(layer, x), gradients(sparse, x), strict=True):
        exact(got.detach(), wanted.detach())
    assert sparse.values.grad is not None
    dense_grad = FORMATS.get(pattern).unpack(sparse.values.grad, sparse.index)
    exact(dense_grad, layer.weight.grad * kept)
    slots = Header.read(sparse.index).nnz
    exact(sparse.values.grad[slots:], torch.zeros(sparse.values.numel() - slots))


@pytest.mark.parametrize("pattern", ["csr", "nm"])
def test_pruned_weights_stay_zero_through_an_optimizer(pattern: str) -> None:
    gen = generator()
    mask = nm_mask(40, 64, 2, 4, gen) if pattern == "nm" else random_mask(40, 64, 0.3, gen)
    sparse = sc.SparseLinear.from_dense(linear(40, 64, mask), mask, format=pattern)
    optimizer = torch.optim.AdamW(sparse.parameters(), lr=0.1, weight_decay=0.1)
    before = sparse.weight
    for step in range(5):
        optimizer.zero_grad()
        sparse(x_for(linear(), 4) + step).square().mean().backward()
        optimizer.step()
    assert not torch.equal(sparse.weight, before)
    exact(sparse.mask, mask)
    exact(sparse.weight * ~mask, torch.zeros(40, 64))
    slots = Header.read(sparse.index).nnz
    exact(sparse.values.detach()[slots:], torch.zeros(sparse.values.numel() - slots))


def test_what_only_gradients_need_is_made_when_one_is_wanted() -> None:
    sparse = sc.SparseLinear.from_dense(linear()).eval()
    x = x_for(linear(), 3)
    assert sparse.transposed is None
    sparse(x)
    assert sparse.transposed is None, "x wants no gradient: nothing is to be made for it"
    sparse(x.requires_grad_())
    assert sparse.transposed is not None


@pytest.mark.parametrize("carry", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_apart(carry: object) -> None:
    sparse = sc.SparseLinear.from_dense(linear())
    sparse.keep_dense()
    assert callable(carry)
    twin = carry(sparse)
    x = x_for(linear(), 3)
    exact(twin(x), sparse(x))
    exact(twin.index, sparse.index)
    with torch.no_grad():
        twin.values.zero_()
        twin.bias.zero_()
    exact(twin(x), torch.zeros(3, 40))
    assert sparse(x).any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes_change_as_in_a_dense_layer(dtype: torch.dtype) -> None:
    layer = linear(40, 64, random_mask(40, 64, 0.1, generator()))
    sparse = sc.SparseLinear.from_dense(layer)
    sparse.keep_dense()
    assert sparse.to(dtype) is sparse
    assert {t.dtype for t in (sparse.values, sparse.bias, sparse.dense)} == {dtype}
    assert sparse.index.dtype == torch.uint8
    x = x_for(layer, 3)
    # Sums of a few small integers: exact in bfloat16 too (below 2**8).
    exact(sparse(x.to(dtype)), layer(x).to(dtype))
    exact(sparse.weight, layer.weight.detach().to(dtype))
    exact(sparse.float()(x), layer(x))
    exact(sc.SparseLinear.from_dense(copy.deepcopy(layer).to(dtype)).weight, layer.weight.to(dtype))


def test_autocast_gives_the_dtype_a_dense_layer_gives() -> None:
    layer = linear(40, 64, random_mask(40, 64, 0.1, generator()))
    sparse = sc.SparseLinear.from_dense(layer)
    x = x_for(layer, 3)
    with torch.autocast("cpu", torch.bfloat16):
        exact(sparse(x), layer(x))
        exact(sparse(x.bfloat16()), layer(x.bfloat16()))


def test_a_wrong_width_is_named() -> None:
    with pytest.raises(ValueError, match=r"x has 63 features but the weight expects 64"):
        sc.SparseLinear.from_dense(linear())(torch.ones(3, 63))


def test_memory_can_be_shared_between_processes() -> None:
    sparse = sc.SparseLinear.from_dense(linear())
    sparse.share_memory()
    assert sparse.values.is_shared()
    assert sparse.index.is_shared()
    x = x_for(linear(), 3)
    exact(sparse(x), linear()(x))


def test_the_dense_copy_runs_where_the_verdict_says_so() -> None:
    x = x_for(linear(), 3)
    for verdict, seen in (("dense", 0.0), ("sparse", 1.0)):
        layer = with_dense(verdict)
        wanted = layer(x)
        with torch.no_grad():
            assert layer.dense is not None
            layer.dense.zero_()
            shift = F.linear(x, layer.weight)
            exact(layer(x), layer.bias + shift * seen)
        exact(with_dense(verdict)(x), wanted)


def test_the_dense_copy_follows_the_values() -> None:
    layer = with_dense("dense")
    x = x_for(linear(), 3)
    with torch.no_grad():
        layer.values.mul_(2)
        exact(layer(x), F.linear(x, linear().weight * 2, linear().bias))
    layer.load_state_dict(sc.SparseLinear.from_dense(linear()).state_dict())
    exact(layer(x), linear()(x))
    layer.train()
    with torch.no_grad():
        layer.values.mul_(2)
    exact(copy.deepcopy(layer).dense, linear().weight.detach() * 2)
    exact(layer.eval().dense, linear().weight.detach() * 2)
    assert layer.nbytes > 40 * 64 * 4


def test_made_and_run_in_inference_mode() -> None:
    with torch.inference_mode():
        layer = with_dense("dense")
        exact(layer(x_for(linear(), 3)), linear()(x_for(linear(), 3)))
        exact(layer.float()(x_for(linear(), 3)), linear()(x_for(linear(), 3)))


@pytest.mark.parametrize("wrong", [nn.Conv2d(3, 3, 3), nn.Embedding(3, 3), nn.LSTM(3, 3)])
def test_other_layers_are_refused(wrong: nn.Module) -> None:
    with pytest.raises(TypeError, match=rf"linear: wanted nn.Linear.*{type(wrong).__name__} is"):
        sc.SparseLinear.from_dense(wrong)


def test_masks_and_formats_that_do_not_fit_are_refused() -> None:
    layer = linear()
    with pytest.raises(ValueError, match=r"mask: wanted the weight's shape.*\[40, 64\], got \[3"):
        sc.SparseLinear.from_dense(layer, torch.ones(3, 64))
    with pytest.raises(TypeError, match="mask: wanted a tensor"):
        sc.SparseLinear.from_dense(layer, [1, 2])  # type: ignore[arg-type]
    known = ", ".join(FORMATS.names())
    with pytest.raises(ValueError, match=f"unknown format 'coo'; known: {known}"):
        sc.SparseLinear.from_dense(layer, format="coo")
    with pytest.raises(ValueError, match=r"format: 'nm' does not fit.*use format='csr'"):
        sc.SparseLinear.from_dense(layer, format="nm")
    with pytest.raises(TypeError, match="no shape yet"):
        sc.SparseLinear.from_dense(nn.LazyLinear(3))
    with pytest.raises(TypeError, match="meta device"):
        sc.SparseLinear.from_dense(nn.Linear(3, 3, device="meta"))


def test_layers_larger_than_a_block_agree_too() -> None:
    shape = DEFAULT_LAYOUT.row_block + 1, 2 * DEFAULT_LAYOUT.k_block + 1
    layer = linear(*shape)
    exact(sc.SparseLinear.from_dense(layer)(x_for(layer, 3)), layer(x_for(layer, 3)))
