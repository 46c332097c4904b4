"""Every kernel that regroups columns, by name: on integers, so equal to the reference or wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur import _extension, ops
from secateur.backends import cpu
from secateur.ops.nm_regroup import LARGEST_SCORE
from tests.support.data import generator

pytestmark = pytest.mark.skipif(not _extension.load(), reason=_extension.reason())

KERNELS = [kernel for kernel in cpu.kernels() if kernel.op == "nm_regroup"]


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> cpu.Kernel:
    """A kernel of the table that this machine can run."""
    found: cpu.Kernel = request.param
    if not found.runnable:
        pytest.skip(f"{found.name} needs {found.isa}; this machine has {cpu.isa()}")
    return found


def check(kernel: cpu.Kernel, columns: Tensor, order: Tensor, picks: Tensor, n: int) -> None:
    """Compare with the reference, order and sums."""
    wanted = torch.ops.secateur.nm_regroup_reference(columns, order, picks, n, 5)
    before = [t.clone() for t in (columns, order, picks)]
    with cpu.forced(kernel.name):
        found = ops.nm_regroup(columns, order, picks, n=n, patience=5)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)
    for one, other in zip((columns, order, picks), before, strict=True):
        assert torch.equal(one, other), "an argument was written to"


@pytest.mark.parametrize("rows", [0, 16, 48, 512, 528, 1040])
@pytest.mark.parametrize("groups", [1, 2, 3, 5, 16, 33])
def test_sizes_around_every_block(kernel: cpu.Kernel, groups: int, rows: int) -> None:
    gen = generator(groups + rows)
    columns = torch.randint(2**20, (groups * 4 + 3, rows), generator=gen, dtype=torch.int32)
    order = torch.randperm(groups * 4 + 3, generator=gen)[: groups * 4]
    picks = torch.randint(4, (6, groups), generator=gen)
    check(kernel, columns, order, picks, 2)


@pytest.mark.parametrize(
    ("n", "m"), [(1, 2), (1, 4), (2, 4), (3, 4), (4, 8), (2, 7), (1, 16), (15, 16)]
)
@pytest.mark.parametrize("largest", [1, LARGEST_SCORE])
def test_every_pattern_with_ties_and_without(
    kernel: cpu.Kernel, n: int, m: int, largest: int
) -> None:
    gen = generator(m)
    columns = torch.randint(largest + 1, (6 * m, 64), generator=gen, dtype=torch.int32)
    picks = torch.randint(m, (12, 6), generator=gen)
    check(kernel, columns, torch.randperm(6 * m, generator=gen), picks, n)


def test_sums_of_the_largest_scores_do_not_overflow(kernel: cpu.Kernel) -> None:
    columns = torch.full((32, 4096), LARGEST_SCORE, dtype=torch.int32)
    picks = torch.zeros(2, 2).long()
    with cpu.forced(kernel.name):
        _, sums = ops.nm_regroup(columns, torch.arange(32), picks, n=15, patience=9)
    assert sums.tolist() == [15 * 4096 * LARGEST_SCORE] * 2


def test_operands_that_are_not_contiguous(kernel: cpu.Kernel) -> None:
    gen = generator(5)
    columns = torch.randint(2**20, (64, 48), generator=gen, dtype=torch.int32).T
    picks = torch.randint(4, (6, 12), generator=gen)[:, ::2]
    check(kernel, columns, torch.randperm(48, generator=gen)[::2], picks, 2)


def test_values_out_of_range_are_refused(kernel: cpu.Kernel) -> None:
    good = (torch.zeros(8, 16, dtype=torch.int32), torch.arange(8), torch.zeros(1, 2).long())
    for at, value in ((0, -1), (0, LARGEST_SCORE + 1), (1, 8), (1, -1), (2, 4), (2, -1)):
        bad = [t.clone() for t in good]
        bad[at].view(-1)[-1] = value
        with cpu.forced(kernel.name), pytest.raises(RuntimeError, match="nm_regroup"):
            ops.nm_regroup(*bad, n=2, patience=1)
