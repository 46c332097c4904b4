"""What a sparsity is, as a user gives it: one check for every argument that is one."""

from __future__ import annotations

from numbers import Real


def fraction(sparsity: object, argument: str = "sparsity") -> float:
    """Return `sparsity` as a float.

    Raises:
        TypeError: if it is no number; the message calls it `argument`.
        ValueError: if it is out of [0, 1).
    """
    if isinstance(sparsity, bool) or not isinstance(sparsity, Real):
        raise TypeError(f"{argument} must be a number in [0, 1), not {sparsity!r}")
    number = float(sparsity)
    if 0 <= number < 1:
        return number
    if 1 < number < 100:
        hint = f"; did you mean {number / 100:g}?"
    elif number == 1:
        hint = "; 1 would remove every weight. Did you mean 0.5, for half of them?"
    elif -1 < number < 0:
        hint = f"; did you mean {-number:g}?"
    else:
        hint = ""
    raise ValueError(f"{argument} is the fraction to remove, in [0, 1), not {number:g}{hint}")
