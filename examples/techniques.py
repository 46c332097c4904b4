"""Every technique there is, measured on scikit-learn's handwritten digits.

    python examples/techniques.py [--quick] [--only PART] [--write docs/techniques.md]

A small network of convolutions, attention and linear layers is trained for a few seconds; then
each technique removes weights from a copy of it, and the copy is healed by a little training with
its zeros held. Names come from the registries: a new criterion, pattern, scope, allocation or
schedule shows up by itself. Sparsity is counted in the weights, accuracy measured on 597 digits
that were not trained on.
"""

from __future__ import annotations

import argparse
import inspect
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from _lab import IGNORE, Lab, Plain, Row
from torch import Tensor, nn
from torch.nn import functional as F

import secateur as sc
from secateur.planning.permute import permute_
from secateur.pruning.allocation import ALLOCATIONS
from secateur.pruning.criteria import CRITERIA
from secateur.pruning.patterns import PATTERNS
from secateur.pruning.schedules import SCHEDULES
from secateur.pruning.scopes import SCOPES
from secateur.pruning.structure import shrink
from secateur.training import RigL, Set, Snapshot, soft_targets

SPARSITY = 0.9


def criteria(lab: Lab) -> Iterator[Row]:
    """One-shot with every criterion; one that follows a training run prunes gradually.

    What cannot judge attention (SynFlow) is given a network without it.
    """
    for name in CRITERIA.names():
        criterion = CRITERIA.get(name)()
        how: dict[str, Any] = {"sparsity": SPARSITY, "criterion": name}
        pairs = list(lab.batches(1))[:8]
        if any(need.startswith("gradient") for need in criterion.needs):
            how |= {"calibration": pairs, "loss": lab.loss}
        elif criterion.needs & {"input_norms", "flow", "scales"}:
            how["calibration"] = [x for x, _ in pairs]
        if getattr(criterion, "whole_rows", False):
            # It speaks of channels alone, and those of a convolution before a BatchNorm.
            how |= {"pattern": "channels", "targets": "stem.3", "ignore": (), "sparsity": 0.5}
        if "history" in criterion.needs:
            schedule = sc.schedules.cubic(0.0, SPARSITY, steps=lab.updates())
            yield lab.gradual("criterion", name, schedule, criterion=name)
            continue
        row = lab.one_shot("criterion", name, **how)
        if row.note:
            row = Lab(lab.quick, Plain).one_shot("criterion", name, **how)
        yield row


def patterns(lab: Lab) -> Iterator[Row]:
    """Every example of every pattern, at half: coarse patterns remove whole features."""
    for kind in PATTERNS.names():
        pattern = PATTERNS.get(kind)
        for name in pattern.examples:
            found = pattern.parse(name)
            fixed = None if found is None else found.sparsity
            how = {} if fixed is not None else {"sparsity": 0.5}
            if kind.startswith("heads"):
                how["targets"] = "attention"
            yield lab.one_shot("pattern", name, pattern=name, **how)


def scopes(lab: Lab) -> Iterator[Row]:
    """Who competes with whom."""
    for name in SCOPES.names():
        yield lab.one_shot("scope", name, sparsity=SPARSITY, scope=name)


def allocations(lab: Lab) -> Iterator[Row]:
    """How much each layer gives up."""
    batches = [x for x, _ in list(lab.batches(1))[:8]]
    for name in ALLOCATIONS.names():
        how = {"calibration": batches} if ALLOCATIONS.get(name)().needs else {}
        yield lab.one_shot("allocation", name, sparsity=SPARSITY, allocation=name, **how)


def schedules(lab: Lab) -> Iterator[Row]:
    """Gradual pruning by every schedule, its arguments filled in by their names."""
    steps = lab.updates()
    known = {
        "initial": 0.0,
        "start": 0.1,
        "final": SPARSITY,
        "until": SPARSITY,
        "increment": 0.3,
        "add": 0.3,
        "steps": steps,
        "wanted": lambda step: SPARSITY * min(1.0, math.sqrt(step / max(1, steps[-1]))),
    }
    for name in SCHEDULES.names():
        make = SCHEDULES.get(name)
        asked = inspect.signature(make).parameters
        schedule = make(**{key: value for key, value in known.items() if key in asked})
        yield lab.gradual("schedule", name, schedule)


def dense_baseline(lab: Lab) -> Iterator[Row]:
    """The network that everything below begins with, and what more training makes of it."""
    start, model = time.perf_counter(), lab.copy()
    before = lab.accuracy(model)
    lab.train(model, lab.healing)
    yield Row("dense", "", 0.0, before, lab.accuracy(model), time.perf_counter() - start)


def lottery_ticket(lab: Lab) -> Row:
    """Train, remove 30 % of what is left, go back to epoch 1 with the mask; six times."""
    start, model = time.perf_counter(), lab.new()
    optimizer = lab.optimizer(model)
    lab.train(model, 1, optimizer)
    early = Snapshot(model, optimizer)
    lab.train(model, lab.epochs, optimizer)
    for round_ in range(1, 7):
        masks = sc.prune(model, 1 - 0.7**round_, ignore=IGNORE)
        early.rewind(masks)
        with masks.attached(optimizer):
            lab.train(model, max(1, lab.epochs // 2), optimizer)
    seconds = time.perf_counter() - start
    return Row("training", "lottery rewinding", masks.sparsity, None, lab.accuracy(model), seconds)


def from_scratch(lab: Lab, method: type[RigL] | type[Set] | None) -> Row:
    """Train a network that is sparse from its first step, with masks that move or stay."""
    start, model = time.perf_counter(), lab.new()
    optimizer = lab.optimizer(model)
    draws = torch.Generator().manual_seed(0)
    masks = sc.prune(model, SPARSITY, criterion="random", ignore=IGNORE, generator=draws)
    end = max(1, lab.steps(lab.epochs) * 3 // 4)
    held: Any = nullcontext()
    if method is None:
        held = masks.attached(optimizer)
    elif method is RigL:
        held = RigL(masks, optimizer, end, every=5)
    else:
        held = Set(masks, optimizer, end, every=5, generator=draws)
    with held:
        lab.train(model, lab.epochs, optimizer)
    name = "fixed random mask" if method is None else method.__name__
    seconds = time.perf_counter() - start
    return Row("training", name, masks.sparsity, None, lab.accuracy(model), seconds)


def distillation(lab: Lab) -> Row:
    """Heal with the dense network as the teacher instead of the labels alone."""
    start, model = time.perf_counter(), lab.copy()
    teacher = lab.copy().eval()
    masks = sc.prune(model, SPARSITY, ignore=IGNORE)
    pruned = lab.accuracy(model)

    def loss(student: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        with torch.no_grad():
            wanted = teacher(batch[0])
        logits = student(batch[0])
        soft = soft_targets(logits, wanted, temperature=2.0)
        return F.cross_entropy(logits, batch[1]) + soft

    optimizer = lab.optimizer(model)
    with masks.attached(optimizer):
        lab.train(model, lab.healing, optimizer, loss=loss)
    seconds = time.perf_counter() - start
    name = "distillation"
    return Row("training", name, masks.sparsity, pruned, lab.accuracy(model), seconds)


def training(lab: Lab) -> Iterator[Row]:
    """Techniques that are a way of training."""
    schedule = sc.schedules.cubic(0.0, SPARSITY, steps=lab.updates())
    yield lab.gradual("training", "gradual", schedule)
    yield lottery_ticket(lab)
    yield from_scratch(lab, RigL)
    yield from_scratch(lab, Set)
    yield from_scratch(lab, None)
    yield distillation(lab)


def structure(lab: Lab) -> Iterator[Row]:
    """Channels removed for good, and channels put in another order before N:M."""
    start, model = time.perf_counter(), lab.copy().eval()
    before = sum(p.numel() for p in model.parameters())
    small = shrink(model, example_inputs=lab.x[:2], sparsity=0.5, ignore=IGNORE)
    pruned = lab.accuracy(small)
    lab.train(small, lab.healing)
    sparsity = 1 - sum(p.numel() for p in small.parameters()) / before
    seconds = time.perf_counter() - start
    yield Row("structure", "shrink", sparsity, pruned, lab.accuracy(small), seconds)

    start, model = time.perf_counter(), lab.copy().eval()
    draws = torch.Generator().manual_seed(0)
    permute_(model, lab.x[:2], pattern="2:4", ignore=IGNORE, generator=draws)
    masks = sc.prune(model, pattern="2:4", ignore=IGNORE)
    pruned = lab.accuracy(model)
    lab.heal(model, masks)
    seconds = time.perf_counter() - start
    healed = lab.accuracy(model)
    yield Row("structure", "2:4 permuted", masks.sparsity, pruned, healed, seconds)


PARTS: dict[str, Callable[[Lab], Iterator[Row]]] = {
    "dense": dense_baseline,
    "criterion": criteria,
    "pattern": patterns,
    "scope": scopes,
    "allocation": allocations,
    "schedule": schedules,
    "training": training,
    "structure": structure,
}


def write(path: Path, rows: list[Row], header: str) -> None:
    """Put each result behind its marker in the page, and the whole table at its end."""
    text = path.read_text()
    for row in rows:
        if row.healed is None:
            continue
        said = f"Measured ({row.name or row.part}): sparsity {row.sparsity:.1%}, accuracy "
        said += "" if row.pruned is None else f"{row.pruned:.3f} at once and "
        said += f"{row.healed:.3f} after training."
        marker = f"<!-- measured: {row.part} {row.name} -->"
        text = re.sub(r".*" + re.escape(marker), lambda _, m=marker, s=said: f"{s} {m}", text)
    begin, end = "<!-- table: begin -->", "<!-- table: end -->"
    before, _, rest = text.partition(begin)
    old, _, after = rest.partition(end)
    measured = {row.part for row in rows}
    lines = [line for line in old.splitlines() if line.split(" ")[0] in PARTS.keys() - measured]
    lines = sorted([*lines, *map(str, rows)], key=lambda line: [*PARTS].index(line.split(" ")[0]))
    table = "\n".join(["```text", header, *lines, "```"])
    text = f"{before}{begin}\n{table}\n{end}{after}"
    path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few digits, one epoch: only to see that it runs"
    )
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument(
        "--write",
        type=Path,
        help="a page to put the results into; of other parts it keeps what is there",
    )
    arguments = parser.parse_args()
    lab = Lab(arguments.quick)
    header = f"{'':<12} {'':<22} sparsity    at once   healed    time"
    print(header)
    rows = []
    for part, run in PARTS.items():
        if arguments.only in (None, part):
            for row in run(lab):
                print(row, flush=True)
                rows.append(row)
    if arguments.write:
        write(arguments.write, rows, header)


if __name__ == "__main__":
    main()
