"""The front door of fusing: capture, one rewrite after the other, and what is left to clean up."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn
from torch.fx import GraphModule

from secateur.planning.fuse._base import REWRITES
from secateur.planning.fuse._capture import capture
from secateur.planning.fuse._report import Report
from secateur.planning.fuse._work import Work

FuseGate = Literal["measured", "always"]


def fuse(model: nn.Module, example_inputs: object, *, gate: FuseGate = "measured") -> GraphModule:
    """Return `model` as a graph in which sparse layers share work with what is around them.

    Activations and residuals go into the layer before them, layers with one input become one, and
    two layers that follow each other run without writing what lies between. Every replacement is
    run on the example and compared with what it replaces, within the rounding error of either;
    the report says what was fused, what not, and why: `print(fused.secateur_report)`.

    The graph is for inference: eval mode is baked in, no weight wants a gradient, and weights that
    were joined are copies, so that it does not follow the model's training, and its state_dict is
    not the model's. Save the model, and fuse it again after loading.

    Args:
        model: with sparse layers, such as `convert` returns; left as it was.
        example_inputs: a tensor; a tuple of arguments; or a dict of keyword arguments. The graph
            takes other sizes of their leading dimension too, where torch.export allows it.
        gate: "measured": keeps a replacement only where it is not slower on the example;
            "always": keeps all.

    Returns:
        A GraphModule with the model's signature, and the attribute `secateur_report`.

    Raises:
        TypeError: if `model` is no module.
        ValueError: if `gate` has no meaning, or the model cannot be captured with the example.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: wanted a torch.nn.Module, got {type(model).__name__}")
    if gate not in get_args(FuseGate):
        raise ValueError(f"gate: wanted 'measured' or 'always', got {gate!r}")
    captured = capture(model, example_inputs)
    report = Report(gate, captured.why_static)
    work = Work(captured, report)
    for rewrite in sorted(map(REWRITES.get, REWRITES.names()), key=lambda found: found.order):
        work.through(rewrite)
    _drop_unused(captured.module)
    captured.module.secateur_report = report  # type: ignore[assignment]
    return captured.module


def _drop_unused(module: GraphModule) -> None:
    """Take out what no node reads: weights that were joined, and attempts."""
    for node in reversed(list(module.graph.nodes)):
        if node.op == "get_attr" and not node.users:
            module.graph.erase_node(node)
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for held in (part._parameters, part._buffers):
            for name in list(held):
                if (f"{prefix}.{name}" if prefix else name) not in used:
                    del held[name]
    module.delete_all_unused_submodules()
    module.recompile()
