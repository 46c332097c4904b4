"""From a model and one example to a graph of ATen ops that can be rewritten. Nothing is fused."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils._pytree import tree_map

from secateur.planning.observe import calls
from secateur.pruning.running import evaluating, no_fused_attention

_aten: Any = torch.ops.aten


@dataclass
class Captured:
    """A model as a graph.

    Attributes:
        module: shares the model's weights, and wants no gradient for them.
        args: the example's positional arguments.
        kwargs: its keyword arguments.
        why_static: why the graph takes no other batch size; None where it does.
    """

    module: GraphModule
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    why_static: str | None

    def run(self) -> Any:
        """Run the graph on the example."""
        with torch.no_grad():
            return self.module(*self.args, **self.kwargs)


def capture(model: nn.Module, example_inputs: object) -> Captured:
    """Export `model` in eval mode without gradients; the model is left as it was.

    Raises:
        ValueError: if there is not one example, the model does not run on it, or torch.export
            cannot capture it.
    """
    found = calls(example_inputs)
    if len(found) != 1:
        raise ValueError(f"example_inputs: wanted one example, got a list of {len(found)}")
    args, kwargs = found[0]
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(no_fused_attention())
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        try:
            model(*args, **kwargs)  # also brings the layers' dense copies up to date
        except Exception as error:
            raise ValueError(
                "example_inputs: wanted inputs the model runs on, but its forward raised "
                f"{type(error).__name__}: {error}"
            ) from error
        program, why_static = _export(model, args, kwargs)
    module = program.module()
    assert isinstance(module, GraphModule)
    _detach(module)
    _drop_dropout(module)
    return Captured(module, args, kwargs, why_static)


def _export(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[torch.export.ExportedProgram, str | None]:
    free = (tree_map(_free_batch, args), tree_map(_free_batch, kwargs))
    shapes: Any = free[0] if not kwargs else free[1]
    try:
        exported = torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)
        return exported, None if _has_symbols(
            exported
        ) else "it is 1, or the model computes with it"
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    try:
        return torch.export.export(model, args, kwargs, strict=False), reason
    except Exception as error:
        raise ValueError(
            f"model: torch.export cannot capture it ({type(error).__name__}: {error}). "
            "Fuse the parts of it that can be captured, or leave it unfused"
        ) from error


def _free_batch(leaf: object) -> object:
    """What torch.export is told of one input: its leading dimension may be any."""
    return {0: torch.export.Dim.AUTO} if isinstance(leaf, Tensor) and leaf.dim() else None


def _has_symbols(program: torch.export.ExportedProgram) -> bool:
    return bool(program.range_constraints)


def _detach(module: GraphModule) -> None:
    """Give the graph parameters of its own over the same memory: the model's still train."""
    own: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                fixed = nn.Parameter(parameter.detach(), requires_grad=False)
                part._parameters[name] = own.setdefault(id(parameter), fixed)


def _drop_dropout(module: GraphModule) -> None:
    """Take out what eval mode leaves of dropout: a node that returns its input."""
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target is _aten.dropout.default:
            x, _, trains = node.args
            if not trains:
                node.replace_all_uses_with(x)
                module.graph.erase_node(node)
    module.recompile()
