"""What a criterion is: the answer to "how much does each weight matter?", and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from secateur._registry import Registry


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at beside the weight; a field it did not ask for is None.

    Each field but the seed is gathered by the file of its name's kind in
    `secateur.pruning.evidence`.

    Attributes:
        seed: one number per layer, drawn from the caller's generator ("seed" in `needs`).
        gradient: of the loss, summed over the batches, [out, in].
        gradient_squares: sum over the batches of the gradient's squares, [out, in].
        input_norms: Euclidean norm of every input over all that the layer saw, [groups, in],
            float64. The rows of the weight fall into `groups` equal runs; all those of a run read
            the same inputs. There is one, but for grouped convolutions and packed attention.
        flow: gradient of the flow through the network of absolute weights, as masked so far,
            [out, in], float64.
        scales: of the BatchNorm that follows, its weight, [out].
        scores: the user's own, [out, in].
        history: what `remember` made of the training so far, [out, in].
    """

    seed: int | None = None
    gradient: Tensor | None = None
    gradient_squares: Tensor | None = None
    input_norms: Tensor | None = None
    flow: Tensor | None = None
    scales: Tensor | None = None
    scores: Tensor | None = None
    history: Tensor | None = None

    def get(self, word: str, criterion: str) -> Tensor:
        """Return the field called `word`, a tensor.

        Raises:
            ValueError: if it is None; the message names the `criterion` that asked.
        """
        found = getattr(self, word)
        if found is None:
            raise ValueError(f"criterion {criterion!r} needs evidence.{word}; it is None")
        value: Tensor = found
        return value


class Criterion(Protocol):
    """One file of this room.

    Attributes:
        name: as registered.
        needs: the fields of `Evidence` it reads.

    It may also have these; without them, the default is taken:

        pooling: how the score of a unit of several weights follows from theirs: "mean", the
            default, so that units of different sizes compete fairly | "sum", of what adds up |
            "net", the absolute value of a sum of signed scores | "max" | a number p, the power
            mean (mean of s^p)^(1/p) of scores that are not negative | "first", the score of the
            unit's first weight.
        scope: name of the scope meant by its authors; default "layer".
        wide: True if scores shall be compared as float64; default False.
        rounds: how many times to prune and score again on the way to the sparsity wanted;
            default 1.
        by_weight: True if the score of a weight follows from that weight alone, so that `score` may
            be given some rows of it; default False. Scores of whole layers then need no memory.
        whole_rows: True if it can only say which rows of the weight matter; default False.
        draw: a method (units, sparsity, seed) -> int, how many of all units are removed, where that
            is not fixed by the sparsity; it needs a scope in which layers compete.
        remember: a method (history, weight, gradient) -> history, all [out, in], that is called
            before each optimizer step of a training run; its results are `evidence.history`.
    """

    name: str
    needs: frozenset[str]

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return how much each weight matters; the higher, the longer it lives.

        It must give the same scores when called again with the same arguments.

        Args:
            weight: floating, [out, in].
            evidence: the fields named in `needs` are set.

        Returns:
            floating, [out, in], without NaN or -inf. Compared as float32, or as float64 if a
            weight is float64 or the criterion is `wide`.
        """


CRITERIA: Registry[type[Criterion]] = Registry("criterion", "secateur.pruning.criteria")
