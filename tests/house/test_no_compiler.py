"""Without the extension the package imports, is correct, and says that it is slow and why."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import torch
import secateur as sc
from secateur import _extension

assert not _extension.load()
print("REASON", _extension.reason())

model = torch.nn.Sequential(torch.nn.Linear(96, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32))
for parameter in model.parameters():
    parameter.data = torch.randint(-4, 5, parameter.shape).float()
x = torch.randint(-4, 5, (5, 96)).float()
for pattern, sparsity in (("unstructured", 0.75), ("2:4", None)):
    sc.prune(model, sparsity=sparsity, pattern=pattern)
    fast = sc.convert(model, x, gate="always")
    assert any(isinstance(m, sc.SparseLinear) for m in fast)
    # Integers below 2**24 add up exactly in fp32, in any order.
    assert torch.equal(fast(x), model(x))
    fast(x).sum().backward()
print("EXPLAIN", sc.explain(fast))
"""


def test_package_is_correct_and_frank_without_the_extension() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env={**os.environ, "SECATEUR_NO_EXTENSION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, _, said = done.stdout.partition("REASON")
    reason, _, explained = said.partition("EXPLAIN")
    assert "SECATEUR_NO_EXTENSION" in reason
    assert "slow" in explained
    assert "SECATEUR_NO_EXTENSION" in explained, "explain() says slow, but not why"
