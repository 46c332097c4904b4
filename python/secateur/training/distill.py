"""Losses that pull a pruned model towards the dense one it came from.

Functions of outputs and hidden states; how a model hands those out is the user's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_targets(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Return T^2 KL(softmax(teacher / T) || softmax(student / T)), averaged over positions.

    Hinton et al. 2015, arXiv:1503.02531, section 2; T^2 keeps the gradient's size. The teacher
    gets no gradient.

    >>> logits = torch.tensor([[1.0, 2.0]])
    >>> soft_targets(logits, logits, temperature=2.0)
    tensor(0.)

    Args:
        student: logits, floating [..., classes].
        teacher: logits of the same shape.
        temperature: T, above 0.
        mask: bool [...], true where a position counts (no padding); None counts all.

    Returns:
        scalar, in nats, float32 or wider.

    Raises:
        ValueError: if shapes differ, the temperature is not positive, or the mask counts nothing.
    """
    _check_shapes("student", student, teacher)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature:g}")
    logits = [_at(_wide(t), mask, student.shape[:-1]) for t in (student, teacher.detach())]
    ours, theirs = (F.log_softmax(t / temperature, -1) for t in logits)
    divergence = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
    return temperature**2 * divergence.mean()


def square_head(
    student: Sequence[Tensor], teacher: Sequence[Tensor], *, mask: Tensor | None = None
) -> Tensor:
    """Return the sum over layers of MSE(teacher, student) / MSE(teacher, 0).

    SquareHead (Kurtic et al. 2023, arXiv:2310.06927, section 3): each layer's error counts in
    proportion to that layer's size, so that layers with large activations do not drown the rest.
    The teacher gets no gradient.

    >>> layer = torch.ones(2, 3, 4)
    >>> square_head([layer, layer], [2 * layer, layer])
    tensor(0.2500)

    Args:
        student: hidden states, one tensor for each layer, floating [..., width].
        teacher: as many, of the same shapes.
        mask: bool [...], true where a position counts (no padding); None counts all.

    Returns:
        scalar, float32 or wider.

    Raises:
        ValueError: if numbers or shapes differ, there is no layer, the mask counts nothing, or a
            teacher's layer is zero throughout.
    """
    if len(student) != len(teacher) or not student:
        raise ValueError(
            f"student and teacher must have the same number of layers, at least one, not "
            f"{len(student)} and {len(teacher)}"
        )
    loss = torch.zeros(())
    for i, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        _check_shapes(f"student[{i}]", ours, theirs)
        positions = ours.shape[:-1]
        ours, theirs = (_at(_wide(t), mask, positions) for t in (ours, theirs.detach()))
        size = theirs.square().mean()
        if not bool(size):
            raise ValueError(
                f"teacher[{i}] is zero throughout, so its error has no scale; leave that layer out"
            )
        loss = loss.to(size.device) + F.mse_loss(ours, theirs) / size
    return loss


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _at(values: Tensor, mask: Tensor | None, positions: torch.Size) -> Tensor:
    """Return the values at the positions that count."""
    if mask is None:
        return values
    if mask.dtype != torch.bool or mask.shape != positions:
        raise ValueError(
            f"mask must be bool {list(positions)}, true where a position counts, not "
            f"{mask.dtype} {list(mask.shape)}"
        )
    if not bool(mask.any()):
        raise ValueError("mask counts no position; there is nothing to learn from")
    return values[mask]


def _check_shapes(name: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f"{name} is {list(student.shape)}, the teacher's is {list(teacher.shape)}; they must "
            "be the same"
        )
