"""The steps that every tutorial on pruning shows run with the import changed, and do the same."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
import torch

THEIRS = "import torch.nn.utils.prune as prune"
OURS = "from secateur.compat import torch_prune as prune"

# The first line is the one that changes. `module` is what is compared afterwards.
SNIPPETS = {
    "unstructured, half of a linear layer": """
import torch.nn.utils.prune as prune
from torch import nn

module = nn.Linear(10, 10)
prune.l1_unstructured(module, name="weight", amount=0.5)
print(module.weight_mask.sum())
print(list(module.named_buffers())[0][0])
zeros = float(torch.sum(module.weight == 0))
print("Sparsity: {:.2f}%".format(100.0 * zeros / float(module.weight.nelement())))
""",
    "structured, a quarter of the filters": """
import torch.nn.utils.prune as prune
from torch import nn

module = nn.Conv2d(3, 10, 3)
prune.ln_structured(module, name="weight", amount=0.25, n=2, dim=0)
print([int(filter.abs().sum() == 0) for filter in module.weight])
prune.remove(module, "weight")
print(sorted(name for name, _ in module.named_parameters()), prune.is_pruned(module))
""",
    "random, 30 %": """
import torch.nn.utils.prune as prune
from torch import nn

module = nn.Linear(10, 10)
prune.random_unstructured(module, name="weight", amount=0.3)
print(int((module.weight_mask == 0).sum()), prune.is_pruned(module))
""",
    "L1 norm, 20 % along the outputs": """
import torch.nn.utils.prune as prune
from torch import nn

module = nn.Linear(20, 10)
prune.ln_structured(module, "weight", amount=0.2, n=1, dim=0)
print((module.weight.sum(dim=1) == 0).sum())
module(torch.ones(2, 20)).sum().backward()
""",
    "iterative, three times 20 %": """
import torch.nn.utils.prune as prune
from torch import nn

model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 2))
module = model[0]
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(32, 10), torch.randint(2, (32,))
for step in range(3):
    for layer in (model[0], model[2]):
        prune.l1_unstructured(layer, "weight", amount=0.2)
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model(x)
    print(step, int(torch.sum(model[0].weight == 0)), int(torch.sum(model[2].weight == 0)))
for layer in (model[0], model[2]):
    prune.remove(layer, "weight")
""",
}


def run(code: str) -> tuple[torch.Tensor, str]:
    torch.manual_seed(0)
    space: dict[str, Any] = {"torch": torch}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "tutorial", "exec"), space)
    return space["module"].weight.detach(), printed.getvalue()


@pytest.mark.parametrize("name", SNIPPETS)
def test_with_the_import_changed_it_does_the_same(name: str) -> None:
    code = SNIPPETS[name]
    assert code.count(THEIRS) == 1
    weight, printed = run(code)
    mine, said = run(code.replace(THEIRS, OURS))
    assert torch.equal(mine, weight)
    # Their masks are floats, so a sum of one prints as "tensor(50.)"; ours count.
    assert said == printed.replace(".)", ")")
