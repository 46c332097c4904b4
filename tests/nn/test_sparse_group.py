"""SparseGroup: layers with one input as one, with the outputs they have alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from tests.support.data import generator, integers, nm_mask, random_mask
from tests.support.judge import exact

SIZES = (16, 40, 8)


def dense(
    sizes: tuple[int, ...] = SIZES, n: int | None = None, bias: bool = True
) -> list[nn.Linear]:
    layers = []
    for at, size in enumerate(sizes):
        gen = generator(at)
        mask = random_mask(size, 32, 0.3, gen) if n is None else nm_mask(size, 32, n, 4, gen)
        layer = nn.Linear(32, size, bias=bias)
        layer.weight = nn.Parameter((integers((size, 32), gen).abs() + 1) * mask)
        if bias:
            layer.bias = nn.Parameter(integers((size,), gen))
        layers.append(layer)
    return layers


def outputs(layers: list[nn.Linear], x: Tensor) -> list[Tensor]:
    return [layer(x) for layer in layers]


@pytest.mark.parametrize("n", [None, 1, 2])
@pytest.mark.parametrize("shape", [(32,), (3, 32), (2, 9, 32)], ids=str)
def test_the_outputs_are_those_of_the_layers(shape: tuple[int, ...], n: int | None) -> None:
    layers, x = dense(n=n), integers(shape, generator(9))
    group = sc.SparseGroup.from_dense(layers)
    assert group.joined.format == ("csr" if n is None else "nm")
    for mine, alone in zip(group(x), outputs(layers, x), strict=True):
        exact(mine, alone)


def test_masks_may_be_given() -> None:
    layers = [nn.Linear(32, size) for size in SIZES]
    masks = [random_mask(size, 32, 0.5, generator(size)) for size in SIZES]
    group = sc.SparseGroup.from_dense(layers, masks)
    exact(group.joined.mask, torch.cat(masks))


def test_layers_of_two_patterns_take_csr() -> None:
    layers = dense((16,), n=1) + dense((16,), n=3)
    assert sc.SparseGroup.from_dense(layers).joined.format == "csr"


def test_a_layer_without_a_bias_gets_zeros() -> None:
    layers = [*dense((16,)), *dense((8,), bias=False)]
    group, x = sc.SparseGroup.from_dense(layers), integers((4, 32), generator(9))
    for mine, alone in zip(group(x), outputs(layers, x), strict=True):
        exact(mine, alone)
    assert sc.SparseGroup.from_dense(dense(bias=False)).joined.bias is None


def test_gradients_are_those_of_the_layers() -> None:
    layers = dense()
    group = sc.SparseGroup.from_dense(layers)
    grads = [integers((5, size), generator(size)) for size in SIZES]
    x, y = (integers((5, 32), generator(9)).requires_grad_() for _ in range(2))
    torch.autograd.backward(group(x), grads)
    torch.autograd.backward(outputs(layers, y), grads)
    exact(x.grad, y.grad)
    exact(group.joined.bias.grad, torch.cat([layer.bias.grad for layer in layers]))


def test_its_state_loads_into_another() -> None:
    group, other = sc.SparseGroup.from_dense(dense()), sc.SparseGroup.from_dense(dense(n=2))
    other.load_state_dict(group.state_dict())
    x = integers((4, 32), generator(9))
    for mine, theirs in zip(group(x), other(x), strict=True):
        exact(mine, theirs)


def test_the_way_back_to_dense() -> None:
    layers, x = dense(), integers((4, 32), generator(9))
    back = sc.to_dense(sc.SparseGroup.from_dense(layers))
    assert isinstance(back.joined, nn.Linear)
    for mine, alone in zip(back(x), outputs(layers, x), strict=True):
        exact(mine, alone)


def test_layers_with_other_inputs_are_refused() -> None:
    layers = [sc.SparseLinear.from_dense(layer) for layer in dense()]
    layers.append(sc.SparseLinear.from_dense(nn.Linear(31, 4)))
    with pytest.raises(ValueError, match="equal in_features, got 32 in layer 2 and 31 in layer 3"):
        sc.SparseGroup(layers)
    with pytest.raises(ValueError, match="at least one, got none"):
        sc.SparseGroup([])


def test_int8_values_are_refused() -> None:
    layers = [sc.SparseLinear.from_dense(layer).requires_grad_(False) for layer in dense()]
    layers[1].values.data = layers[1].values.data.to(torch.int8)
    with pytest.raises(ValueError, match=r"wanted floating values, got torch\.int8 in layer 1"):
        sc.SparseGroup(layers)
