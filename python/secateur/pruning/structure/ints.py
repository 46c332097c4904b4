"""Whole numbers that remember where they come from, and the equations between them.

A model that says `x.view(b, t, self.heads, self.width)` can lose heads only if `self.heads` changes
with them. While a model is traced, its int attributes and the sizes of its tensors are `Traced`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypeAlias, cast

from secateur.pruning.structure.labels import Ids


@dataclass(frozen=True)
class Const:
    """A number that the code states, or that was computed in a way that cannot be followed."""

    value: int


@dataclass(frozen=True)
class Attr:
    """An int attribute of a module, or one element of a tuple of them.

    Attributes:
        module: its name in the model.
        name: of the attribute.
        at: which element; None if the attribute is an int.
    """

    module: str
    name: str
    at: int | None = None

    def __str__(self) -> str:
        place = f"{self.module}.{self.name}" if self.module else self.name
        return place if self.at is None else f"{place}[{self.at}]"


@dataclass(frozen=True, eq=False)
class Count:
    """How many of some positions are kept: the size of a dimension, or of part of one."""

    labels: Ids


@dataclass(frozen=True)
class Both:
    """Two numbers combined."""

    how: Callable[[int, int], int]
    a: Expr
    b: Expr


Expr: TypeAlias = "Const | Attr | Count | Both"


@dataclass(frozen=True)
class Equation:
    """Two numbers that must stay equal when channels go.

    Attributes:
        left: one side.
        right: the other.
        where: what needs it, in words.
    """

    left: Expr
    right: Expr
    where: str


def leaves(expr: Expr) -> Iterator[Const | Attr | Count]:
    """Yield what an expression is made of."""
    if isinstance(expr, Both):
        yield from leaves(expr.a)
        yield from leaves(expr.b)
    else:
        yield expr


Note = Callable[[Expr, Expr], None]
"""Takes down that two expressions must stay equal."""


class Traced(int):
    """An int that knows its expression.

    Arithmetic makes another; whatever else is done with the number fixes its value.
    """

    expr: Expr
    note: Note

    @classmethod
    def of(cls, value: int, expr: Expr, note: Note) -> Traced:
        """Return `value`, which is `expr`."""
        made = cls(value)
        made.expr, made.note = expr, note
        return made

    def freeze(self) -> int:
        """Return the plain number; from now on it may not change."""
        self.note(self.expr, Const(int.__int__(self)))
        return int.__int__(self)

    def _both(self, other: object, how: Callable[[int, int], int], turned: bool = False) -> Any:
        if not isinstance(other, int):
            self.freeze()
            return NotImplemented
        a, b = (other, self) if turned else (self, other)
        plain = how(int.__int__(a), int.__int__(b))
        return Traced.of(plain, Both(how, expression(a), expression(b)), self.note)

    def __add__(self, other: object) -> Any:
        return self._both(other, operator.add)

    def __radd__(self, other: object) -> Any:
        return self._both(other, operator.add, True)

    def __sub__(self, other: object) -> Any:
        return self._both(other, operator.sub)

    def __rsub__(self, other: object) -> Any:
        return self._both(other, operator.sub, True)

    def __mul__(self, other: object) -> Any:
        return self._both(other, operator.mul)

    def __rmul__(self, other: object) -> Any:
        return self._both(other, operator.mul, True)

    def __floordiv__(self, other: object) -> Any:
        return self._both(other, operator.floordiv)

    def __rfloordiv__(self, other: object) -> Any:
        return self._both(other, operator.floordiv, True)

    def __mod__(self, other: object) -> Any:
        return self._both(other, operator.mod)

    def __neg__(self) -> Traced:
        return cast(Traced, self._both(-1, operator.mul))

    def __divmod__(self, other: object) -> Any:
        return self // other, self % other

    def __truediv__(self, other: Any) -> Any:
        return self.freeze() / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.freeze()

    def __pow__(self, *others: Any) -> Any:
        return pow(self.freeze(), *others)

    def __rpow__(self, *others: Any) -> Any:
        return others[0] ** self.freeze()

    def __float__(self) -> float:
        return float(self.freeze())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, int):
            return isinstance(other, float) and self.freeze() == other
        same = int.__int__(self) == int.__int__(other)
        if same:
            self.note(self.expr, expression(other))
        else:
            self.freeze()
        return same

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return bool(self.freeze() < other)

    def __le__(self, other: Any) -> bool:
        return bool(self.freeze() <= other)

    def __gt__(self, other: Any) -> bool:
        return bool(self.freeze() > other)

    def __ge__(self, other: Any) -> bool:
        return bool(self.freeze() >= other)

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __reduce__(self) -> Any:
        return int, (int.__int__(self),)


def expression(number: SupportsIndex) -> Expr:
    """Return the expression of a number, traced or not."""
    return number.expr if isinstance(number, Traced) else Const(operator.index(number))


def plain(value: Any) -> Any:
    """Return `value` with traced ints made plain, inside lists, tuples, dicts and slices too."""
    if isinstance(value, Traced):
        return int.__int__(value)
    if isinstance(value, slice):
        return slice(*map(plain, (value.start, value.stop, value.step)))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (list, tuple) or type(value).__name__ == "Size":
        return type(value)(map(plain, value))
    return value


def traced_in(value: Any) -> Iterator[Traced]:
    """Yield the traced ints inside `value`."""
    if isinstance(value, Traced):
        yield value
    elif isinstance(value, slice):
        yield from traced_in((value.start, value.stop, value.step))
    elif isinstance(value, dict):
        yield from traced_in(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from traced_in(item)
