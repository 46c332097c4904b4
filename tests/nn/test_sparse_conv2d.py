"""SparseConv2d: every argument of nn.Conv2d, state, training, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.formats import FORMATS
from secateur.nn import SparseConv2d
from tests.support import data, judge, truth

ARGUMENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "1x1": {"kernel_size": 1},
    "strided": {"stride": (2, 1), "padding": (1, 2)},
    "same": {"padding": "same", "kernel_size": (2, 4), "dilation": (1, 2)},
    "valid": {"padding": "valid"},
    "grouped": {"groups": 2, "padding": 1},
    "no bias": {"bias": False, "padding": 1},
    "reflect": {"padding": (1, 2), "padding_mode": "reflect"},
    "replicate": {"padding": (2, 1), "padding_mode": "replicate"},
    "circular": {"padding": 1, "padding_mode": "circular"},
}


def conv(**changed: Any) -> nn.Conv2d:
    """A convolution of whole numbers, half of its weights zero."""
    gen = data.generator()
    made = nn.Conv2d(8, 12, **{"kernel_size": 3, **changed})
    mask = torch.rand(made.weight.shape, generator=gen) < 0.5
    made.weight = nn.Parameter(data.integers(made.weight.shape, gen) * mask)
    if made.bias is not None:
        made.bias = nn.Parameter(data.integers((12,), gen))
    return made


def image(*shape: int) -> Tensor:
    return data.integers(shape or (2, 8, 9, 10), data.generator(1))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_every_argument_of_conv2d(arguments: dict[str, Any]) -> None:
    dense = conv(**arguments)
    sparse = SparseConv2d.from_dense(dense)
    for last in (torch.contiguous_format, torch.channels_last):
        x = image().contiguous(memory_format=last)
        with torch.no_grad():
            judge.exact(sparse(x), dense(x))
    judge.exact(sparse(image(8, 9, 10)), dense(image(8, 9, 10)))
    judge.exact(sparse.weight, dense.weight.detach())


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_the_way_back_to_dense(arguments: dict[str, Any]) -> None:
    sparse = SparseConv2d.from_dense(conv(**arguments)).eval()
    dense = sparse.to_dense()
    assert not dense.training
    judge.exact(dense(image()), sparse(image()))
    judge.exact(sc.to_dense(nn.Sequential(sparse))(image()), sparse(image()))


def test_gradients_are_those_of_the_dense_layer_at_the_kept_weights() -> None:
    dense, x = conv(padding=1), image().requires_grad_()
    sparse = SparseConv2d.from_dense(dense)
    grad = data.integers(sparse(x).shape, data.generator(2))
    sparse(x).backward(grad)
    by_sparse, x.grad = x.grad, None
    dense(x).backward(grad)
    judge.exact(by_sparse, x.grad)
    assert sparse.values.grad is not None
    assert dense.weight.grad is not None
    kept = sparse.mask.view(12, 3, 3, 8).movedim(-1, 1)
    found = SparseConv2d.from_dense(dense)
    with torch.no_grad():
        found.values.copy_(sparse.values.grad)
    judge.exact(found.weight, dense.weight.grad * kept)


def test_state_goes_and_comes_with_another_mask() -> None:
    sparse, other = (SparseConv2d.from_dense(conv(padding=1)) for _ in range(2))
    with torch.no_grad():
        dense = conv(padding=1)
        dense.weight[:6] = 0
    sparse.load_state_dict(SparseConv2d.from_dense(dense).state_dict())
    judge.exact(sparse(image()), dense(image()))
    for twin in (copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        judge.exact(twin(image()), other(image()))


def test_n_of_m_along_the_input_channels_is_packed_as_nm() -> None:
    dense = conv(padding=1)
    mask = data.nm_mask(12, 72, 2, 4, data.generator()).view(12, 3, 3, 8).movedim(-1, 1)
    sparse = SparseConv2d.from_dense(dense, mask)
    assert sparse.format == "nm"
    with torch.no_grad():
        dense.weight *= mask
    judge.exact(sparse(image()), dense(image()))


@pytest.mark.parametrize(("r", "groups"), [(4, 1), (16, 1), (4, 2)])
def test_blocks_of_outputs_are_packed_as_bsr(r: int, groups: int) -> None:
    dense = nn.Conv2d(8, 32, 3, padding=1, groups=groups)
    kept = data.block_mask(32, 72 // groups, r, 1, data.generator())
    with torch.no_grad():
        mask = kept.view(32, 3, 3, -1).movedim(-1, 1)
        dense.weight.copy_(data.integers(mask.shape, data.generator(1)) * mask)
        dense.bias.copy_(data.integers((32,), data.generator(2)))
    sparse = SparseConv2d.from_dense(dense, mask)
    assert sparse.format == "bsr"
    judge.exact(sparse(image()), dense(image()))


def test_blocks_with_outputs_of_two_groups_are_packed_as_csr() -> None:
    """No kernel convolves them in blocks."""
    dense = nn.Conv2d(8, 12, 3, groups=2)
    mask = data.block_mask(12, 36, 4, 1, data.generator()).view(12, 3, 3, 4).movedim(-1, 1)
    assert SparseConv2d.from_dense(dense, mask).format == "csr"


def test_narrow_values() -> None:
    dense = conv(padding=1)
    sparse = SparseConv2d.from_dense(dense).store(torch.bfloat16)
    judge.exact(sparse(image()), dense(image()))
    rounded = SparseConv2d.from_dense(dense).store(torch.int8)
    padded = nn.functional.pad(image(), (1, 1, 1, 1))
    assert dense.bias is not None
    judge.within_bound(rounded(image()), truth.conv2d(padded, rounded.weight, dense.bias.detach()))


def test_what_cannot_be_a_sparse_convolution_is_refused() -> None:
    with pytest.raises(TypeError, match="depthwise"):
        SparseConv2d.from_dense(nn.Conv2d(8, 8, 3, groups=8))
    with pytest.raises(TypeError, match=r"Linear is not nn\.Conv2d"):
        SparseConv2d.from_dense(nn.Linear(8, 8))
    with pytest.raises(ValueError, match="format: wanted bsr or csr or nm"):
        SparseConv2d.from_dense(conv(), format="sell")
    with pytest.raises(ValueError, match="kernel_size"):
        packed = FORMATS.get("csr").pack(torch.ones(4, 10), torch.ones(4, 10, dtype=torch.bool))
        SparseConv2d(packed, kernel_size=(3, 3))


def test_a_mask_that_breaks_the_format_or_the_shape_is_refused() -> None:
    dense = conv(padding=1)
    mask = data.nm_mask(12, 72, 2, 4, data.generator()).view(12, 3, 3, 8).movedim(-1, 1).clone()
    mask[3, :4, 1, 1] = True  # 4 of 4
    before = dense.weight.detach().clone()
    with pytest.raises(ValueError, match=r"format: 'nm' does not fit this mask.*use format='csr'"):
        SparseConv2d.from_dense(dense, mask, format="nm")
    with pytest.raises(ValueError, match="mask"):
        SparseConv2d.from_dense(dense, mask[:, :4])
    judge.exact(dense.weight.detach(), before)


def test_an_image_of_another_depth_or_rank_is_refused() -> None:
    sparse = SparseConv2d.from_dense(conv(padding=1))
    for wrong, message in ((image(2, 7, 9, 10), "72"), (image(9, 10), r"\[N, C, H, W\]")):
        with pytest.raises(ValueError, match=message):
            sparse(wrong)


def test_a_kernel_larger_than_the_padded_image_leaves_nothing() -> None:
    """nn.Conv2d raises there; an op whose shape rule is traced cannot look first."""
    sparse = SparseConv2d.from_dense(conv())
    assert sparse(image(2, 8, 2, 9)).shape == (2, 12, 0, 7)
    assert sparse(image(2, 8, 9, 10)[:0]).shape == (0, 12, 7, 8)


def test_no_such_padding_mode() -> None:
    """What nn.Conv2d refuses, a layer made by hand refuses too."""
    packed = FORMATS.get("csr").pack(torch.ones(4, 18), torch.ones(4, 18, dtype=torch.bool))
    with pytest.raises(ValueError, match="padding_mode: wanted zeros, reflect, replicate or"):
        SparseConv2d(packed, kernel_size=(3, 3), padding_mode="mirror")  # type: ignore[arg-type]
