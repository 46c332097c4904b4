"""One small call of each of our kernels: what a sanitizer, which is slow, is given."""

from __future__ import annotations

import pytest
import torch

from secateur.backends import gpus
from secateur.backends.candidates import CANDIDATES
from secateur.backends.cuda import _packing, int8
from secateur.formats import FORMATS
from secateur.formats._pairs import Pairs
from tests.support import data, gpu_conv
from tests.support import gpu as checks
from tests.support.cuda.convolved import CASES
from tests.support.whole import whole

VENDORS = ("cublas", "cudnn", "cusparselt", "torch")
OURS = [n for n in CANDIDATES.names() if not n.startswith(VENDORS)]


@pytest.mark.parametrize("name", OURS)
def test_a_small_call_is_exact(name: str) -> None:
    candidate = CANDIDATES.get(name)
    if candidate.missing():
        pytest.skip(f"{name}: {candidate.missing()}")
    if candidate.convolves:
        made = gpu_conv.make(CASES["groups of whole tiles"], torch.device("cuda", 0))
        gpu_conv.judge.exact_truth(candidate.run(made.operands).cpu(), made.truth)
        return
    for rows in (1, 9):
        made = checks.case(candidate.format, (33, 72), rows, torch.device("cuda", 0))
        if candidate.refuses(made.problem, gpus.of(0)) is None:
            checks.judge.exact_truth(candidate.run(made.operands).cpu(), made.truth())


@pytest.mark.parametrize("name", ["semi", "semi_frag"])
def test_a_small_weight_is_packed_and_unpacked(name: str) -> None:
    packer, device = FORMATS.get(name), torch.device("cuda", 0)
    assert isinstance(packer, Pairs)
    if not _packing.named("nm_pack", name, torch.float16, device):
        pytest.skip("the CUDA kernels are not here: see secateur.backends.cuda.why_not()")
    mask = data.nm_mask(33, 72, 2, 4, data.generator()).to(device)
    weight = data.integers((33, 72), data.generator(1), torch.float16).to(device)
    packed = packer.pack(weight, mask)
    kept = weight.masked_fill(~mask, 0)
    checks.judge.exact(packer.unpack(packed.values, packed.index), kept)
    packed = packer.pack_largest(kept)
    checks.judge.exact(packer.unpack(packed.values, packed.index), kept)


@pytest.mark.parametrize("shape", [(1, 33, 80), (9, 130, 144), (5, 35, 66)])
def test_a_small_product_of_int8_is_exact(shape: tuple[int, int, int]) -> None:
    one = whole(shape, "cuda:0", fused=True, act="relu")
    if not int8.kernels(one.x, shape[1]):
        pytest.skip("the CUDA kernels are not here: see secateur.backends.cuda.why_not()")
    checks.judge.exact_truth(int8.product(*one.call).cpu(), one.truth())
