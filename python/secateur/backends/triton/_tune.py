"""The few ways of launching a kernel, and which of them are tried on a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import triton
from triton.runtime.jit import JITFunction

# Sums that a thread holds: beyond these the compiler runs out of registers.
_MOST_SUMS = 64
_MOST_EXACT_SUMS = 16  # each has its factors in registers too, where no tensor core takes them
_WARP = 32


def config(warps: int, stages: int, **sizes: int) -> triton.Config:
    """Return one way of launching: the kernel's capital sizes, warps and pipeline stages."""
    return triton.Config(sizes, num_warps=warps, num_stages=stages)


class Tuned:
    """A kernel that is timed on first use over at most six configs for each kind of problem.

    Under the interpreter nothing is timed: the first config is taken.

    Args:
        kernel: of kernels/.
        tile: its arguments that are the sides of what a program sums up.
        cores: configs for tensor cores; the first runs any problem.
        exact: configs for float32 multiplied exactly, which no tensor core does; likewise.
        key: its arguments that decide which is fastest; dtypes do in any case.
    """

    def __init__(
        self,
        kernel: Any,
        tile: tuple[str, str],
        *,
        cores: Sequence[triton.Config],
        exact: Sequence[triton.Config],
        key: Sequence[str],
    ) -> None:
        self.kernel = kernel
        self.tile = tile
        self.cores, self.exact = list(cores), list(exact)
        compiled = isinstance(kernel, JITFunction)
        tune = triton.autotune(
            configs=self.cores + self.exact if compiled else self.cores[:1],
            key=[*key, "bucket", "PRECISION"],
            prune_configs_by={"early_config_prune": self._prune} if compiled else None,
        )
        self.launcher = tune(kernel)

    def fitting(self, known: Mapping[str, Any]) -> list[triton.Config]:
        """Return the configs to try for a problem; at least one, at most six.

        Args:
            known: the kernel's arguments but for those in a config.
        """
        exact = known["PRECISION"] == "ieee"
        configs, most = (self.exact, _MOST_EXACT_SUMS) if exact else (self.cores, _MOST_SUMS)
        # A tile of twice the tokens there are does half its work for nothing.
        least = min(each.kwargs.get("TOKENS", 0) for each in configs)
        enough = max(least, 2 * int(known["rows"]) - 1)
        found = []
        for each in configs:
            sizes = {**known, **each.kwargs}
            sums = sizes[self.tile[0]] * sizes[self.tile[1]]
            fits = sums <= most * each.num_warps * _WARP
            if fits and each.kwargs.get("TOKENS", 0) <= enough:
                found.append(each)
        return found or configs[:1]

    def _prune(
        self, _: list[triton.Config], arguments: dict[str, Any], **constants: Any
    ) -> list[triton.Config]:
        return self.fitting({**arguments, **constants})
