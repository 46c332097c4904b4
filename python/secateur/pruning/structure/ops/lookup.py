"""Rows picked by number, and tensors made from nothing."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.pruning.structure.ops._base import Call, Info, rule


@rule("embedding")
def embedding(call: Call) -> Sequence[Info]:
    """Rows stay: which are asked for is not known. Features may go."""
    weight, rows = call.of(0), call.of(1)
    call.labels.fix(weight.labels[0], "rows picked by number")
    return [Info([*rows.labels, weight.labels[1]], [*rows.zero, weight.zero[1]])]


@rule("new_zeros", "new_ones", "new_full", "new_empty", "zeros", "ones", "full", "empty", "arange")
def makes(call: Call) -> Sequence[Info]:
    """Of its argument, only type and device are read."""
    return [Info.fixed(out.shape) for out in call.outs]
