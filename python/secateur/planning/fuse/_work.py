"""Doing rewrites: each match is built, checked, timed, and kept or taken out again."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves

from secateur.planning import heap, stopwatch
from secateur.planning.fuse import _check
from secateur.planning.fuse._base import Match, Miss, Rewrite
from secateur.planning.fuse._capture import Captured
from secateur.planning.fuse._graph import read, tensor_of
from secateur.planning.fuse._local import function, near_values
from secateur.planning.fuse._report import Entry, Report
from secateur.planning.table import ms_text

NOT_SLOWER = 1 - stopwatch.CLEAR  # before over after, from which a rewrite is kept
WHOLE = 10  # how much more time a measurement of the whole graph is given

_Times = tuple[float | None, float | None]


@dataclass
class Work:
    """The rewriting of one captured model.

    Args:
        captured: its graph is changed.
        report: is told of everything.
        budget_s: seconds for one measurement, about.
    """

    captured: Captured
    report: Report
    budget_s: float = 0.1
    _known: dict[Hashable, tuple[float, float]] = field(default_factory=dict)

    def through(self, rewrite: Rewrite) -> None:
        """Do one rewrite wherever it can be done and pays; undo it if the whole is worse for it."""
        module = self.captured.module
        before = _copied(module.graph)
        values = near_values(self.captured, getattr(rewrite, "reads", ()))
        fused = 0
        for found in rewrite.find(module, values):
            if isinstance(found, Miss):
                self.report.entries.append(Entry(rewrite.name, found.what, False, found.reason))
                continue
            with torch.no_grad():
                entry = self._tried(rewrite.name, found, values)
            self.report.entries.append(entry)
            fused += entry.fused
        module.graph.lint()
        module.recompile()
        reason = self._worse(before) if fused else None
        if reason is not None:
            module.graph = before
            self.report.undo(rewrite.name, f"taken back: {reason}")
        del values
        heap.give_back()

    def _tried(self, name: str, match: Match, values: dict[Node, Tensor]) -> Entry:
        graph = self.captured.module.graph
        before = list(graph.nodes)
        with graph.inserting_before(match.old[0] if match.first else match.old[-1]):
            outputs = match.build()
        known = set(before)
        made = [node for node in graph.nodes if node not in known]
        reason, times = self._judged(name, match, made, outputs, values)
        if reason is not None:
            for node in reversed(made):
                graph.erase_node(node)
            return Entry(name, match.what, False, reason, *times)
        for old, new in zip(match.outputs, outputs, strict=True):
            old.replace_all_uses_with(new)
            if old in values:
                values[new] = values[old]
        for node in reversed(match.old):
            graph.erase_node(node)
        return Entry(name, match.what, True, _times_text(times), *times)

    def _judged(
        self,
        name: str,
        match: Match,
        made: Sequence[Node],
        outputs: Sequence[Node],
        values: dict[Node, Tensor],
    ) -> tuple[str | None, _Times]:
        """Return why the replacement is refused, or None; and both times, if measured."""
        module = self.captured.module
        calls = [node for node in made if node.op != "get_attr"]
        old = function(module, match.old, match.outputs, values)
        held = (
            values
            if match.spoils is None
            else {**values, match.spoils: values[match.spoils].clone()}
        )
        new = function(module, calls, outputs, held)

        def fetch(node: object) -> Any:
            fixed = tensor_of(module, node) if isinstance(node, Node) else None
            return fixed if fixed is not None or not isinstance(node, Node) else values[node]

        bounds = [_check.bound(n, fetch) if n in made else _check.SAME for n in outputs]
        wrong = _check.fault(old(), new(), bounds)
        if wrong is not None:
            return wrong, (None, None)
        if self.report.gate == "always":
            return None, (None, None)
        key = (name, *map(_kind, match.old))
        if key not in self._known:
            self._known[key] = stopwatch.compare(old, new, threshold=1.0, budget_s=self.budget_s)
        times = self._known[key]
        if times[0] / times[1] < NOT_SLOWER:
            return f"it would be slower: {_times_text(times)}", times
        return None, times

    def _worse(self, before: Graph) -> str | None:
        """Return what is wrong with the whole graph as it is now, or None."""
        # Both bare: the captured module also checks its inputs.
        old, new = self._bare(before), self._bare(self.captured.module.graph)
        try:
            leaves = tree_leaves(new.run())
        except Exception as error:
            return f"the graph raised {type(error).__name__}: {error}"
        for one, other in zip(tree_leaves(old.run()), leaves, strict=True):
            if isinstance(one, Tensor) and (one.shape, one.dtype) != (other.shape, other.dtype):
                return "the result has another shape or dtype"
        if self.report.gate == "always":
            return None
        # A call of the whole is long; a budget for one layer would be five of them.
        budget_s = WHOLE * self.budget_s
        times = stopwatch.compare(old.run, new.run, threshold=1.0, budget_s=budget_s)
        if times[0] / times[1] >= NOT_SLOWER:
            return None
        if any(map(stopwatch.page_faults, (old.run, new.run))):
            return None  # that was the allocator's time; each rewrite alone was not slower
        return f"the whole graph is slower, {_times_text(times)}"

    def _bare(self, graph: Graph) -> Captured:
        return replace(self.captured, module=GraphModule(self.captured.module, _copied(graph)))


def _copied(graph: Graph) -> Graph:
    """Return a copy that takes and gives what `graph` does."""
    made = Graph()
    output: Any = made.graph_copy(graph, {}, return_output_node=True)
    assert output is not None
    made.output(output[0])
    made.set_codegen(graph._codegen)  # deepcopy would copy it, with warnings from torch
    return made


def _kind(node: Node) -> Hashable:
    """What nodes have in common that are measured once: op, shapes, sizes of packed weights."""
    value = node.meta["val"]
    layer = read(node)
    sizes = None
    if layer is not None:
        shape = layer.values.meta["val"].shape
        sizes = (shape, layer.act, layer.residual is None, str(layer.options))
    return str(node.target), str(value.shape), value.dtype, sizes


def _times_text(times: _Times) -> str:
    before, after = times
    if before is None or after is None:
        return "gate='always'"
    return f"{ms_text(before)} ms -> {ms_text(after)} ms"
