"""Whether a replacement computes what it replaced, within the error that either may have.

A sum of k products is off by at most k u Σ|x||w| in any order (Higham, Accuracy and Stability of
Numerical Algorithms, eq. 3.5), so two of them differ by at most twice that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from secateur.formats import Header
from secateur.planning.fuse._graph import read
from secateur.planning.fuse.activation import act_of

Fetch = Callable[[object], Any]

# Of any activation: its largest slope (gelu's, at the square root of 2, rounded up), and its own
# error in eps of its input, which the compiled ones are held to.
_SLOPE, _ULPS = 1.13, 4


SAME = torch.zeros(())
"""The bound of what was computed as before, and went elsewhere."""


def fault(old: Sequence[Tensor], new: Sequence[Tensor], bounds: Sequence[Tensor]) -> str | None:
    """Return how `new` differs from `old` by more than twice `bounds`, or None."""
    for one, other, bound in zip(old, new, bounds, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"the result would be {list(other.shape)} {other.dtype}, is {list(one.shape)}"
        far = (one - other).abs()
        # Where both are infinite or NaN alike there is no distance.
        wrong = ~((far <= 2 * bound) | (one == other) | (one.isnan() & other.isnan()))
        if wrong.any():
            return f"the result would be off by {float(far[wrong].max()):.3g}, beyond rounding"
    return None


def bound(node: Node, fetch: Fetch) -> Tensor:
    """Return the forward error bound of a replacement's output, elementwise.

    Args:
        node: a sparse layer, an mlp, a slice of either, a dense convolution, an activation of that,
            or a copy of what no sum was made for.
        fetch: gives the value of a node on the example.
    """
    if node.target is torch.ops.aten.slice.Tensor:
        whole, dim, start, end = node.args
        assert isinstance(whole, Node)
        sliced: Tensor = torch.ops.aten.slice.Tensor(bound(whole, fetch), dim, start, end)
        return sliced
    if node.target is torch.ops.aten.clone.default:
        return SAME
    if node.target is torch.ops.aten.conv2d.default:
        given: Any = [fetch(a) if isinstance(a, Node) else a for a in node.args]
        return _of_dense(*given)
    layer = read(node)
    if layer is None and act_of(node) is not None:
        (before,) = node.all_input_nodes
        return (_SLOPE + _ULPS) * bound(before, fetch)  # which is above eps of what goes in
    if layer is not None:
        options = dict(layer.options)
        first = options.pop("residual_first", False)
        call = _Layer(f"{layer.format}_{layer.kind}", layer.act, options)
        operands = (fetch(n) for n in (layer.values, layer.index, layer.bias, layer.scale))
        # What is added before the activation is off as the sum is.
        of_adding = _of_adding(fetch(layer.residual)) * (_SLOPE + _ULPS if first else 1)
        return call.bound(fetch(layer.x), *operands) + of_adding
    x, values1, index1, values2, index2, bias1, bias2, residual = (fetch(n) for n in node.args)
    sizes = [int(node.kwargs[f"{name}_features"]) for name in ("hidden", "out")]  # type: ignore[arg-type]
    format = str(node.target).split(".")[1].partition("_")[0]
    acts = [str(node.kwargs[name]) for name in ("act", "act_out")]
    first, second = (
        _Layer(f"{format}_linear", act, {"out_features": size})
        for act, size in zip(acts, sizes, strict=True)
    )
    off = first.bound(x, values1, index1, bias1)
    hidden = first(x, values1, index1, bias1)
    return second.bound(hidden, values2, index2, bias2, off=off) + _of_adding(residual)


@dataclass(frozen=True)
class _Layer:
    """act(x Wᵀ + bias), or of a convolution, by an op, and what it may be off by."""

    op: str
    act: str
    options: Mapping[str, Any]

    def __call__(self, *tensors: Tensor | None, act: str | None = None) -> Tensor:
        op = getattr(torch.ops.secateur, f"{self.op}_infer").default
        act = self.act if act is None else act
        result: Tensor = op(*tensors, **self.options, act=act)
        return result

    def _terms(self, index: Tensor) -> int:
        """Products of one sum, at most."""
        return Header.read(index).in_features

    def bound(
        self,
        x: Tensor,
        values: Tensor,
        index: Tensor,
        bias: Tensor | None,
        scale: Tensor | None = None,
        *,
        off: Tensor | None = None,
    ) -> Tensor:
        """Return the bound for x that is itself off by up to `off`."""
        eps = torch.finfo(x.dtype).eps
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        size, of_bias, of_scale = (None if t is None else t.abs() for t in (x, bias, scale))
        assert size is not None
        weight = (values.abs(), index)
        absolute = self(size.to(wide), *weight, of_bias, None, of_scale, act="none")
        error = (self._terms(index) + 2) * eps * absolute
        if off is not None:
            error = error + self(off.to(wide), *weight, None, None, of_scale, act="none")
        # |y| is at most `absolute`: two eps of it are for rounding y, and for adding to it.
        return _SLOPE * error + (_ULPS + 2) * eps * absolute


def _of_dense(x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any) -> Tensor:
    """Return the bound of aten.conv2d."""
    of_bias = None if bias is None else bias.abs()
    size: Tensor = torch.ops.aten.conv2d.default(x.abs(), weight.abs(), of_bias, *rest)
    return (weight[0].numel() + 2) * torch.finfo(x.dtype).eps * size


def _of_adding(residual: Tensor | None) -> Tensor | float:
    return 0.0 if residual is None else torch.finfo(residual.dtype).eps * residual.abs()
