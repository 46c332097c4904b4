"""Times whole convolutional networks, pruned, converted and fused, against the best dense one.

Dense are torch in both memory formats and ONNX Runtime, which folds batch normalization and fuses
activations itself. The first convolution and what is no convolution stay dense.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

import secateur as sc
from benchmarks.conv import right
from benchmarks.dense_conv import dense_calls
from benchmarks.nets import NETS
from benchmarks.timing import Candidate, Plan, fastest, measure, ratio
from secateur.nn import batchnorm, dense_layer, layers

SPARSITIES = (0.7, 0.8, 0.9, 0.95)
SIZES = {"resnet50": 224, "mobilenet_v2": 224, "unet": 160}
ASKED = {
    ("resnet50", 1): (1.8, 2.5, 3.2, 4.5),
    ("resnet50", 16): (None, None, 3.0, 4.0),
}
"""Of the speed-up, by network and batch, at SPARSITIES."""


@dataclass(frozen=True)
class Options:
    """What to measure, and how.

    Args:
        plan: how many rounds.
        sparsities: of every convolution but the first, unstructured, by magnitude.
        images: batches.
        nets: names in NETS.
    """

    plan: Plan = field(default_factory=Plan)
    sparsities: Sequence[float] = SPARSITIES
    images: Sequence[int] = (1,)
    nets: Sequence[str] = tuple(NETS)


def run(options: Options, say: Callable[[str], None]) -> Iterator[str]:
    """Measure everything selected; yields a line for each network and batch.

    Args:
        options: what and how.
        say: is told which library is absent, and what stays dense.
    """
    columns = "".join(f"{sparsity:>24.0%}" for sparsity in options.sparsities)
    yield f"{'network, images':<18}{'best dense ms':>20}{columns}"
    for name in options.nets:
        for count in options.images:
            yield measured(name, count, options, say)
    yield "sparse ms, speed-up over the fastest dense library, and asked/got where something is"


def measured(name: str, count: int, options: Options, say: Callable[[str], None]) -> str:
    """Return the line of one network at one batch size."""
    model = NETS[name]()
    size = SIZES[name]
    x = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    calls = dense_calls(model, x, partial(onnx_model, model, x), say)
    libraries = list(calls)
    for sparsity in options.sparsities:
        calls[f"{sparsity}"] = sparse_call(name, model, x, sparsity, say)
    with torch.inference_mode():
        samples = measure([Candidate(key, [call]) for key, call in calls.items()], options.plan)
    best = fastest({key: samples[key] for key in libraries})
    line = f"{f'{name}, {count}':<18}{best:>11}{samples[best].median * 1e3:>9.1f}"
    for sparsity in options.sparsities:
        sparse = samples[f"{sparsity}"]
        gain = ratio(samples[best], sparse).median
        asked = dict(zip(SPARSITIES, ASKED.get((name, count), ()), strict=False)).get(sparsity)
        goal = "" if asked is None else f" {asked:g}/{gain:.2f}" + " miss" * (gain < asked)
        line += f"{sparse.median * 1e3:>8.1f} {f'{gain:.2f}x{goal}':>15}"
    return line


def onnx_model(model: nn.Module, x: Tensor) -> bytes:
    """Return a network as an ONNX model for images of x's shape."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that torch would rather have us use needs one more package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(model, (x,), file, input_names=["x"], dynamo=False)
    return file.getvalue()


def sparse_call(
    name: str, model: nn.Module, x: Tensor, sparsity: float, say: Callable[[str], None]
) -> Callable[[], object]:
    """Return the call of the pruned network as it is deployed, once its layers were checked.

    Raises:
        ValueError: if one computes another result than the dense layer with the same zeros.
    """
    pruned = deepcopy(model)
    first = next(key for key, part in pruned.named_modules() if isinstance(part, nn.Conv2d))
    sc.prune(pruned, sparsity, targets=[nn.Conv2d], ignore=[first])
    fast = sc.convert(pruned, x, fold_batchnorm=True)
    told = [layer for layer in sc.explain(fast).layers if layer.kind == "Conv2d"]
    left = [f"{layer.name} ({layer.reason})" for layer in told if not layer.taken]
    say(f"{name} at {sparsity:.0%}: dense are {len(left)} of {len(told)} convolutions: {left}")
    wrong = _wrong(fast, pruned, x)
    if wrong:
        raise ValueError(f"{name} at {sparsity:.0%}: wrong results of {wrong}; run the tests")
    deployed = sc.fuse(fast, x)  # compares what it replaces
    return lambda: deployed(x)


def _wrong(fast: nn.Module, pruned: nn.Module, x: Tensor) -> list[str]:
    """Run `fast`; return the names of sparse convolutions that do not give what dense ones do."""
    wrong: list[str] = []
    norms = batchnorm.pairs(pruned)

    def watch(name: str, layer: sc.SparseConv2d) -> RemovableHandle:
        conv = pruned.get_submodule(name)
        read = dense_layer.read(conv)
        dense = layers.dense(batchnorm.folded(read, norms[conv]) if conv in norms else read)
        assert isinstance(dense, nn.Conv2d)

        def hook(_: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
            if not right(layer, dense.weight, dense.bias, args[0], y):
                wrong.append(name)

        return layer.register_forward_hook(hook)

    convolutions = [(n, m) for n, m in fast.named_modules() if isinstance(m, sc.SparseConv2d)]
    handles = [watch(name, layer) for name, layer in convolutions]
    with torch.inference_mode():
        fast(x)
    for handle in handles:
        handle.remove()
    return wrong
