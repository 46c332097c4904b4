"""Times whole convolutional networks, pruned, converted and fused, against the best dense one.

Dense are torch in both memory formats and ONNX Runtime, which folds batch normalization and fuses
activations itself. The first convolution and what is no convolution stay dense.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

import secateur as sc
from benchmarks import record, report
from benchmarks.conv_subject import right
from benchmarks.dense_conv import LIBRARIES, dense_calls
from benchmarks.nets import NETS
from benchmarks.result import Timed
from benchmarks.teller import Teller
from benchmarks.timing import Candidate, Plan, measure
from benchmarks.waterfall import rows as waterfall_rows
from benchmarks.waterfall import waterfall
from secateur.nn import batchnorm, dense_layer, layers

SPARSITIES = (0.7, 0.8, 0.9, 0.95)
SIZES = {"resnet50": 224, "mobilenet_v2": 224, "unet": 160}
IMAGES = {"resnet50": (1, 16)}
"""Batches, where there are others than one image."""

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
        images: batches; None: those of IMAGES, else one image.
        nets: names in NETS.
    """

    plan: Plan = field(default_factory=Plan)
    sparsities: Sequence[float] = SPARSITIES
    images: Sequence[int] | None = None
    nets: Sequence[str] = tuple(NETS)


@dataclass(frozen=True)
class Whole(Timed):
    """Samples of one network at one batch and sparsity.

    Args:
        sparse: seconds of the deployed network.
        dense: seconds of each dense library, by name.
        name: in NETS.
        images: of the batch.
        sparsity: of its pruned convolutions.
        taken: how many of its convolutions are sparse.
        convolutions: how many it has.
    """

    name: str
    images: int
    sparsity: float
    taken: int
    convolutions: int

    @property
    def asked(self) -> float | None:
        """The speed-up asked for, if one is."""
        numbers = ASKED.get((self.name, self.images), ())
        return dict(zip(SPARSITIES, numbers, strict=False)).get(self.sparsity)

    @property
    def label(self) -> str:
        """The case in a few words."""
        return f"{network(self.name, self.images)} {self.sparsity:.0%}"

    def row(self, facts: Mapping[str, str]) -> dict[str, str]:
        """Return the result as CSV columns, `facts` first; seconds."""
        return {
            **facts,
            "network": self.name,
            "images": str(self.images),
            "sparsity": f"{self.sparsity:g}",
            "rounds": str(len(self.sparse.values)),
            "sparse_convolutions": str(self.taken),
            "convolutions": str(self.convolutions),
            **record.seconds(self, LIBRARIES),
            **record.ratios(self),
        }


@dataclass(frozen=True)
class Deployed:
    """A pruned network as it is deployed."""

    graph: nn.Module
    taken: int
    convolutions: int


def run(options: Options, say: Callable[[str], None]) -> Iterator[list[Whole]]:
    """Measure everything selected; yields the results of one network and batch at a time.

    Args:
        options: what and how.
        say: is told which library is absent, what stays dense, and where the time goes.
    """
    teller = Teller(say)
    for name in options.nets:
        for count in options.images or IMAGES.get(name, (1,)):
            yield measured(name, count, options, teller, say)


def measured(
    name: str, count: int, options: Options, teller: Teller, say: Callable[[str], None]
) -> list[Whole]:
    """Time one network at one batch size, and say where the time of each goes."""
    model = NETS[name]()
    size = SIZES[name]
    x = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    dense = dense_calls(model, x, partial(onnx_model, model, x), teller)
    candidates = [Candidate(library, [call]) for library, call in dense.items()]
    rounds = min(options.plan.rounds, 5)
    times = {f"{network(name, count)} dense (torch)": waterfall(model, x, rounds)}
    results = []
    for sparsity in options.sparsities:  # one at a time: together they would not fit in memory
        each = deployed(name, model, x, sparsity, say)
        with torch.inference_mode():
            sparse = Candidate("sparse", [partial(each.graph, x)])
            samples = measure([*candidates, sparse], options.plan)
        result = Whole(
            sparse=samples.pop("sparse"),
            dense=samples,
            name=name,
            images=count,
            sparsity=sparsity,
            taken=each.taken,
            convolutions=each.convolutions,
        )
        times[result.label] = waterfall(each.graph, x, rounds)
        results.append(result)
    say("\n" + "\n".join(lines(results)))
    say("\n" + "\n".join(report.aligned(waterfall_rows(times))))
    return results


def network(name: str, images: int) -> str:
    """Return a network and its batch in words."""
    return f"{name}, {images} image{'s' * (images != 1)}"


def lines(results: Sequence[Whole]) -> list[str]:
    """Return the table of results, heading first."""
    table = [["case", *report.timed_headings(LIBRARIES), "sparse convolutions", "asked/got"]]
    for result in results:
        asked = "" if result.asked is None else report.asked_cell(result.asked, _got(result))
        taken = f"{result.taken} of {result.convolutions}"
        table.append([result.label, *report.timed_cells(result, LIBRARIES), taken, asked])
    return report.aligned(table)


def target_lines(results: Sequence[Whole]) -> list[str]:
    """Return the table of targets: "asked/got" by network and batch, and sparsity."""
    names = list(dict.fromkeys(network(r.name, r.images) for r in results))
    levels = list(dict.fromkeys(r.sparsity for r in results))
    table = [["asked/got", *(f"{level:.0%}" for level in levels)]]
    for name in names:
        found = {r.sparsity: r for r in results if network(r.name, r.images) == name}
        cells = [report.asked_cell(found[s].asked, _got(found[s])) for s in levels]
        table.append([name, *cells])
    return [*report.aligned(table), "speed-up over the fastest dense library"]


def _got(result: Whole) -> float:
    return result.speedup.median


def onnx_model(model: nn.Module, x: Tensor) -> bytes:
    """Return a network as an ONNX model for images of x's shape."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that torch would rather have us use needs one more package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(model, (x,), file, input_names=["x"], dynamo=False)
    return file.getvalue()


def deployed(
    name: str, model: nn.Module, x: Tensor, sparsity: float, say: Callable[[str], None]
) -> Deployed:
    """Return the pruned network as it is deployed, once its layers were checked.

    Raises:
        ValueError: if one computes another result than the dense layer with the same zeros.
    """
    pruned = pruned_copy(model, sparsity)
    fast = sc.convert(pruned, x, fold_batchnorm=True)
    told = [layer for layer in sc.explain(fast).layers if layer.kind == "Conv2d"]
    left = [f"{layer.name} ({layer.reason})" for layer in told if not layer.taken]
    say(f"{name} at {sparsity:.0%}: dense are {len(left)} of {len(told)} convolutions: {left}")
    wrong = wrong_layers(fast, pruned, x)
    if wrong:
        raise ValueError(f"{name} at {sparsity:.0%}: wrong results of {wrong}; run the tests")
    graph = sc.fuse(fast, x)  # compares what it replaces
    return Deployed(graph, len(told) - len(left), len(told))


def pruned_copy(model: nn.Module, sparsity: float) -> nn.Module:
    """Return a copy without the smallest weights of each convolution but the first."""
    pruned = deepcopy(model)
    first = next(key for key, part in pruned.named_modules() if isinstance(part, nn.Conv2d))
    sc.prune(pruned, sparsity, targets=[nn.Conv2d], ignore=[first])
    return pruned


def wrong_layers(fast: nn.Module, pruned: nn.Module, x: Tensor) -> list[str]:
    """Run `fast`; return the names of sparse convolutions that do not give what dense ones do."""
    wrong: list[str] = []
    norms = batchnorm.pairs(pruned)

    def watch(name: str, layer: sc.SparseConv2d) -> RemovableHandle:
        conv = pruned.get_submodule(name)
        read = dense_layer.read(conv)
        dense = layers.dense(batchnorm.folded(read, norms[conv]) if conv in norms else read)
        assert isinstance(dense, nn.Conv2d)

        def hook(_: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
            if not right(dense, dense.weight, args[0], y):
                wrong.append(name)

        return layer.register_forward_hook(hook)

    convolutions = [(n, m) for n, m in fast.named_modules() if isinstance(m, sc.SparseConv2d)]
    handles = [watch(name, layer) for name, layer in convolutions]
    with torch.inference_mode():
        fast(x)
    for handle in handles:
        handle.remove()
    return wrong
