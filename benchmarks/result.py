"""What one case came to. Arithmetic on samples; printing is report.py's, keeping record.py's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from benchmarks.bounds import Bound, Work
from benchmarks.cases import Measured
from benchmarks.timing import Samples, fastest, ratio


@dataclass(frozen=True)
class Timed:
    """Samples of one subject and what it is compared with, all from the same rounds.

    Args:
        sparse: seconds of the subject.
        dense: seconds of each dense baseline, by name.
    """

    sparse: Samples
    dense: Mapping[str, Samples]

    @property
    def best_dense(self) -> str:
        """Name of the faster dense baseline."""
        return fastest(self.dense)

    @property
    def speedup(self) -> Samples:
        """Best dense seconds over sparse seconds, round by round."""
        return ratio(self.dense[self.best_dense], self.sparse)


@dataclass(frozen=True)
class Result(Timed):
    """Samples of one case.

    Args:
        sparse: seconds of the subject.
        dense: seconds of each dense baseline, by name.
        work: what a call must do.
        peers: seconds of each sparse library, by name, and of dense int8 where it was measured.
        packed_bytes: bytes of the packed weight.
        kernel: name of the kernel that ran.
        bound: the least time possible; None where nothing was probed.
    """

    work: Work
    packed_bytes: int
    kernel: str
    peers: Mapping[str, Samples] = field(default_factory=dict)
    bound: Bound | None = None

    @property
    def case(self) -> Measured:
        """The case measured."""
        return self.work.case

    def over(self, peer: str) -> Samples:
        """A peer's seconds over sparse seconds, round by round."""
        return ratio(self.peers[peer], self.sparse)

    @property
    def useful_rate(self) -> float:
        """FLOP/s counting the kept weights only."""
        return self.work.flops / self.sparse.median

    @property
    def dense_rate(self) -> float:
        """FLOP/s a dense library would need to be as fast."""
        return self.work.dense_flops / self.sparse.median

    @property
    def bytes_per_weight(self) -> float:
        """Packed bytes per weight of the dense layer; dense fp32 has 4."""
        return self.packed_bytes / self.case.weights

    @property
    def share_of_bound(self) -> float | None:
        """The bound's time over the time taken: 1 is perfect."""
        return self.bound.seconds / self.sparse.median if self.bound else None


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of positive numbers.

    Raises:
        ValueError: if there are none.
    """
    logs = [math.log(value) for value in values]
    if not logs:
        raise ValueError("a geometric mean needs at least one value")
    return math.exp(math.fsum(logs) / len(logs))
