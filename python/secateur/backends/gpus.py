"""What GPUs are, as the roofline model needs it: a table of known ones, and a look at this machine.

Figures are the vendor's, of the data sheet named beside each; tensor peaks are of float16 without
sparsity and with float32 accumulation.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: as torch.cuda.get_device_name has it, or a part of that.
        capability: compute capability, 80 for 8.0.
        sms: multiprocessors.
        bandwidth: GB/s of its memory.
        peak: TFLOP/s of the tensor cores.
        clock: GHz, boost.
        source: where the figures are from.
        int8: times `peak` that products of int8 reach: four where float32 sums halve it.
    """

    name: str
    capability: int
    sms: int
    bandwidth: float
    peak: float
    clock: float
    source: str
    int8: float = 2.0

    @property
    def lanes(self) -> float:
        """Instructions of one lane a second, 1e9: four schedulers of 32 lanes in each SM."""
        return self.sms * 128 * self.clock


# The longer name first where one holds another.
KNOWN = (
    Gpu("A100-SXM4-80GB", 80, 108, 2039, 312, 1.41, "NVIDIA A100 datasheet, 80GB SXM"),
    Gpu("A100 80GB PCIe", 80, 108, 1935, 312, 1.41, "NVIDIA A100 datasheet, 80GB PCIe"),
    Gpu("A100", 80, 108, 1555, 312, 1.41, "NVIDIA A100 datasheet, 40GB"),
    Gpu("A10", 86, 72, 600, 125, 1.695, "NVIDIA A10 datasheet"),
    Gpu("RTX 3090", 86, 82, 936, 71, 1.695, "NVIDIA GA102 whitepaper, table 2", 4.0),
    Gpu("RTX 4090", 89, 128, 1008, 165.2, 2.52, "NVIDIA Ada whitepaper, table 1", 4.0),
    Gpu("L40S", 89, 142, 864, 362, 2.52, "NVIDIA L40S datasheet"),
    Gpu("L4", 89, 58, 300, 121, 2.04, "NVIDIA L4 datasheet"),
    Gpu("H100 PCIe", 90, 114, 2000, 756, 1.755, "NVIDIA H100 datasheet, PCIe"),
    Gpu("H100", 90, 132, 3350, 989, 1.755, "NVIDIA H100 datasheet, SXM"),
    Gpu("H200", 90, 132, 4800, 989, 1.755, "NVIDIA H200 datasheet, SXM"),
    Gpu("B200", 100, 148, 7700, 2250, 1.85, "NVIDIA Blackwell datasheet, HGX B200"),
    Gpu("RTX 5090", 120, 170, 1792, 209.5, 2.41, "NVIDIA RTX Blackwell whitepaper, table 1", 4.0),
)


def known(name: str) -> Gpu | None:
    """Return the GPU of the table that `name` names, or None."""
    words = name.replace("-", " ").split()
    if "Laptop" in words:
        return None
    for gpu in KNOWN:
        wanted = gpu.name.replace("-", " ").split()
        if any(words[at : at + len(wanted)] == wanted for at in range(len(words))):
            return gpu
    return None


@functools.cache
def of(index: int) -> Gpu:
    """Return the GPU that is the CUDA device `index` of this machine.

    One that is not in the table is taken for the known one of the nearest capability, with its own
    number of multiprocessors, and bandwidth and peak in proportion: a guess, and named so.
    """
    properties = torch.cuda.get_device_properties(index)
    capability = 10 * properties.major + properties.minor
    return like(properties.name, capability, properties.multi_processor_count)


def like(name: str, capability: int, sms: int) -> Gpu:
    """Return the GPU of this name, see `of`."""
    found = known(name)
    if found is not None and found.capability == capability:
        return replace(found, name=name, sms=sms)
    nearest = min(KNOWN, key=lambda gpu: (abs(gpu.capability - capability), abs(gpu.sms - sms)))
    scale = sms / nearest.sms
    return Gpu(
        name,
        capability,
        sms,
        nearest.bandwidth * scale,
        nearest.peak * scale,
        nearest.clock,
        f"not in the table: guessed from {nearest.name}",
        nearest.int8,
    )
