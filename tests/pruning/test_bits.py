"""Zeros under a mask: all bits of what is removed, none of what is kept, in every layout."""

from __future__ import annotations

import math

import pytest
import torch

from secateur.pruning._bits import zero_bits_

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4), (1201, 1000)])
def test_what_is_removed_is_zero_and_what_is_kept_is_as_it_was(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    tensor = torch.randn(shape).to(dtype)
    tensor[torch.rand(shape) < 0.1] = math.nan
    tensor[torch.rand(shape) < 0.1] = -math.inf
    mask = torch.rand(shape) < 0.5
    bits = tensor.clone().view(torch.uint8) if shape else tensor.clone()
    zero_bits_(tensor, mask)
    assert not bool(tensor[~mask].reshape(-1).view(torch.uint8).any())
    before = bits.view(dtype)[mask].reshape(-1) if shape else bits[mask].reshape(-1)
    assert torch.equal(tensor[mask].reshape(-1).view(torch.uint8), before.view(torch.uint8))


def test_strided_weights() -> None:
    weight = torch.randn(64, 128, 9, 9).to(memory_format=torch.channels_last)
    mask = torch.rand(weight.shape) < 0.5
    wanted = weight.where(mask, 0.0)
    zero_bits_(weight, mask)
    assert torch.equal(weight, wanted)
    matrix = torch.randn(700, 900)
    wanted = matrix.where(mask.flatten()[: matrix.numel()].view(900, 700).T, 0.0)
    zero_bits_(matrix, mask.flatten()[: matrix.numel()].view(900, 700).T)
    assert torch.equal(matrix, wanted)
