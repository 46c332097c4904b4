"""Code that is hard to follow: what cannot go stays, with a reason; what goes leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from secateur.pruning import structure
from secateur.pruning.structure import shrink
from tests.pruning.structure.judge import assert_equal_to_masked


class Between(nn.Module):
    """Something between two linear layers, whose 32 channels may or may not go."""

    def __init__(self, middle: Callable[[nn.Module, Tensor], Tensor], out: int = 32) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(out, 4)
        self.scale = nn.Parameter(torch.rand(32) + 0.5)
        self.rows, self.columns, self.width = 4, 8, 32
        self.register_buffer("table", torch.rand(32))
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.middle(self, self.first(x)))
        return y


def rows_by_attribute(m: nn.Module, y: Tensor) -> Tensor:
    y = y.view(len(y), m.rows, m.columns)
    return (y * y.softmax(-1)).flatten(1)


def rows_by_number(m: nn.Module, y: Tensor) -> Tensor:
    return F.relu(y.view(len(y), 4, 8)).reshape(-1, 32)


def rows_by_division(m: nn.Module, y: Tensor) -> Tensor:
    c = y.shape[1]
    return F.relu(y.view(len(y), m.rows, c // m.rows)).reshape(len(y), c)


def shuffled(m: nn.Module, y: Tensor) -> Tensor:
    n, c = y.shape
    return y.view(n, m.rows, c // m.rows).transpose(1, 2).contiguous().view(n, -1)


def gate_halves(m: nn.Module, y: Tensor) -> Tensor:
    a, b = y.chunk(2, dim=-1)
    return torch.sigmoid(a) * b


def one_half_only(m: nn.Module, y: Tensor) -> Tensor:
    a, b = y.chunk(2, dim=-1)
    return torch.cat((a, b.relu()), -1)


def sliced_by_size(m: nn.Module, y: Tensor) -> Tensor:
    half = y.shape[-1] // 2
    return torch.cat((-y[..., half:], y[..., :half]), -1)


def sliced_by_number(m: nn.Module, y: Tensor) -> Tensor:
    return torch.cat((y[:, :10].relu(), y[:, 10:]), 1)


def from_the_back(m: nn.Module, y: Tensor) -> Tensor:
    return torch.cat((y[:, :-10].relu(), y[:, -10:]), 1)


def every_other(m: nn.Module, y: Tensor) -> Tensor:
    return torch.cat((y[:, ::2], y[:, 1::2]), 1)


def split_by_sizes(m: nn.Module, y: Tensor) -> Tensor:
    a, b = y.split([12, 20], dim=1)
    return torch.cat((b, a.relu()), 1)


def picked(m: nn.Module, y: Tensor) -> Tensor:
    return y[:, torch.arange(31, -1, -1)]


def flipped(m: nn.Module, y: Tensor) -> Tensor:
    return y.flip(1) * m.scale


def rolled(m: nn.Module, y: Tensor) -> Tensor:
    return y.roll(3, 1)


def padded(m: nn.Module, y: Tensor) -> Tensor:
    return F.pad(y[:, 1:], (0, 1))


def scaled(m: nn.Module, y: Tensor) -> Tensor:
    return (F.gelu(y) * m.scale).tanh()


def by_a_buffer(m: nn.Module, y: Tensor) -> Tensor:
    return y * m.table + m.table


def by_a_constant(m: nn.Module, y: Tensor) -> Tensor:
    return y * torch.linspace(0, 1, 32, dtype=y.dtype)


def by_the_width(m: nn.Module, y: Tensor) -> Tensor:
    return y / math.sqrt(y.shape[-1]) + m.width


def by_the_number_of_elements(m: nn.Module, y: Tensor) -> Tensor:
    return y / y.numel()


def equal_to_a_float(m: nn.Module, y: Tensor) -> Tensor:
    return y * 2 if m.width == 32.0 else y


def softmaxed(m: nn.Module, y: Tensor) -> Tensor:
    return y.softmax(-1)


def centred(m: nn.Module, y: Tensor) -> Tensor:
    return y - y.mean(1, keepdim=True)


def unit_length(m: nn.Module, y: Tensor) -> Tensor:
    return F.normalize(y, dim=-1)


def similar(m: nn.Module, y: Tensor) -> Tensor:
    return y * (y @ y.T).sum(1, keepdim=True)


def similar_after_sigmoid(m: nn.Module, y: Tensor) -> Tensor:
    z = y.sigmoid()
    return y * (z @ z.T).sum(1, keepdim=True)


def sorted_(m: nn.Module, y: Tensor) -> Tensor:
    return y.sort(1).values


def cumulated(m: nn.Module, y: Tensor) -> Tensor:
    return y.cumsum(1)


def transformed(m: nn.Module, y: Tensor) -> Tensor:
    return torch.fft.fft(y).real


def written_in_place(m: nn.Module, y: Tensor) -> Tensor:
    y = y.clone()
    y[:, :8].sigmoid_()
    y += 1
    return y


def written_to_zeros(m: nn.Module, y: Tensor) -> Tensor:
    z = torch.zeros_like(y)
    z[:] = y
    return z.relu_()


def as_strided(m: nn.Module, y: Tensor) -> Tensor:
    return y.contiguous().as_strided((len(y), 16, 2), (32, 1, 16)).flatten(1)


def turned_in_place(m: nn.Module, y: Tensor) -> Tensor:
    return y.clone().t_().relu_().t_()


def normed(m: nn.Module, y: Tensor) -> Tensor:
    return F.rms_norm(y, (32,), m.scale)


def instance_normed(m: nn.Module, y: Tensor) -> Tensor:
    return F.instance_norm(torch.stack((y, 2 * y, y**2), -1)).sum(-1)


def compared(m: nn.Module, y: Tensor) -> Tensor:
    assert y.shape[-1] == m.width
    return y.relu()


def branched(m: nn.Module, y: Tensor) -> Tensor:
    return y.relu() if y.shape[-1] > 20 else y


def einsum(m: nn.Module, y: Tensor) -> Tensor:
    return torch.einsum("bi,bi,i->bi", y, y, m.scale)


def mixed_tokens(m: nn.Module, y: Tensor) -> Tensor:
    weight = torch.eye(len(y), dtype=y.dtype) + 0.5
    return F.linear(y.T, weight, torch.ones(len(y), dtype=y.dtype)).T


def cast(m: nn.Module, y: Tensor) -> Tensor:
    return F.silu(y.double()).to(y.dtype)


MAY_GO: dict[Callable[[nn.Module, Tensor], Tensor], bool] = {
    rows_by_attribute: True,
    rows_by_number: False,
    rows_by_division: True,
    shuffled: True,
    one_half_only: True,
    sliced_by_size: True,
    sliced_by_number: False,
    from_the_back: False,
    every_other: False,
    split_by_sizes: False,
    picked: False,
    flipped: True,
    rolled: False,
    padded: False,
    scaled: True,
    by_a_buffer: True,
    by_a_constant: False,
    by_the_width: False,
    by_the_number_of_elements: False,
    equal_to_a_float: True,
    softmaxed: False,
    centred: False,
    unit_length: False,  # it divides by copies, of which there must be as many as channels
    similar: True,
    similar_after_sigmoid: False,
    sorted_: False,
    cumulated: False,
    transformed: False,
    written_in_place: False,
    written_to_zeros: True,
    as_strided: False,
    turned_in_place: True,
    normed: False,
    instance_normed: True,
    compared: True,
    branched: False,
    einsum: True,
    mixed_tokens: True,
    cast: True,
}


@pytest.mark.parametrize("middle", MAY_GO, ids=lambda f: f.__name__)
def test_what_may_go_goes_and_nothing_else(middle: Callable[[nn.Module, Tensor], Tensor]) -> None:
    model, x = Between(middle), torch.randn(3, 8)
    small = shrink(model, example_inputs=x, sparsity=0.5, round_to=1, criterion="random")
    assert_equal_to_masked(small, model, (x,))
    gone = small.first.out_features < 32
    assert gone == MAY_GO[middle], str(structure.report(small))
    if not gone:
        assert any(s.name == "first.weight" and s.dim == 0 for s in structure.report(small).stays)


def test_halves_that_gate_each_other_lose_the_same() -> None:
    model, x = Between(gate_halves, out=16), torch.randn(3, 8)
    small = shrink(model, example_inputs=x, sparsity=0.5)
    rows = structure.report(small).kept["tensors"]["first.weight"][0]
    assert [i + 16 for i in rows[:8]] == rows[8:]
    assert_equal_to_masked(small, model, (x,))


@pytest.mark.parametrize(
    "layer",
    [
        nn.LayerNorm(32),
        nn.GroupNorm(4, 32),
        nn.BatchNorm1d(32, affine=False),
        nn.PReLU(32),
        nn.RMSNorm(32, eps=1e-4),
        nn.RMSNorm(32, elementwise_affine=False),
        nn.LSTM(32, 32),
        weight_norm(nn.Linear(32, 32)),
        nn.Bilinear(32, 32, 32),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_layers(layer: nn.Module) -> None:
    def middle(m: nn.Module, y: Tensor) -> Tensor:
        y = m.layer(y, y) if isinstance(layer, nn.Bilinear) else m.layer(y)
        return y[0] if isinstance(y, tuple) else y

    model, x = Between(middle).eval(), torch.randn(3, 8)
    model.layer = layer.eval()
    small = shrink(model, example_inputs=x, sparsity=0.5, round_to=2)
    assert_equal_to_masked(small, model, (x,))


class Shared(nn.Module):
    """One layer used twice: what it reads is what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        for _ in range(2):
            y = y + self.again(y).relu()
        z: Tensor = self.last(y)
        return z


def test_a_layer_used_twice() -> None:
    model, x = Shared(), torch.randn(3, 8)
    small = shrink(model, example_inputs=x, sparsity=0.5)
    assert small.again.weight.shape == (16, 16)
    assert_equal_to_masked(small, model, (x,))


class Paths(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor, mix: bool = False) -> Tensor:
        y = self.first(x)
        z: Tensor = self.last(y.softmax(-1) if mix else y)
        return z


def test_every_example_counts() -> None:
    model, x = Paths(), torch.randn(3, 8)
    assert shrink(model, example_inputs=x, sparsity=0.5).first.out_features == 16
    both = shrink(model, example_inputs=[x, {"x": x, "mix": True}], sparsity=0.5)
    assert both.first.out_features == 32


def test_nothing_is_left_behind_in_the_model() -> None:
    model, x = Between(rows_by_attribute).train(), torch.randn(3, 8)
    small = shrink(model, example_inputs=x, sparsity=0.5)
    assert type(model.rows) is type(small.rows) is int
    assert small.rows == 2
    assert model.rows == 4
    for each in (model, small):
        assert each.training
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in each.modules())


def test_inexact_norms_let_the_stream_go() -> None:
    def middle(m: nn.Module, y: Tensor) -> Tensor:
        return m.layer(y)

    model, x = Between(middle), torch.randn(3, 8)
    model.layer = nn.LayerNorm(32)
    assert shrink(model, example_inputs=x, sparsity=0.5).first.out_features == 32
    small = shrink(model, example_inputs=x, sparsity=0.5, exact=False)
    assert small.layer.normalized_shape == (16,)
    assert small(x).shape == (3, 4)
