"""What the package may import: its floors downwards; outside itself, torch and numpy."""

from __future__ import annotations

import importlib.metadata as metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Runs with every third-party package refused but the ones named in argv.
USE_THE_PACKAGE = """
import sys
refused = set(sys.argv[1].split(","))

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(f"{name} is not one of torch and numpy")
        return None

sys.meta_path.insert(0, Refuse())
import torch
import secateur as sc

model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8))
x = torch.ones(4, 64)
sc.prune(model, sparsity=0.5)
wanted = model(x)
fast = sc.convert(model, x, gate="always")
torch.testing.assert_close(fast(x), wanted)
print(sc.explain(fast))
"""


# An editable installation finds `secateur` before PYTHONPATH does; the tree in question must win.
LINT = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in type(f).__module__]
from importlinter.cli import lint_imports_command
lint_imports_command()
"""


def requirements_of(names: set[str]) -> set[str]:
    """All distributions that `names` need, themselves included, extras left out."""
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [re.split(r"[^\w.-]", n)[0] for n in needs if "extra ==" not in n]
    return seen


def test_the_package_needs_only_torch_and_numpy() -> None:
    allowed = requirements_of({"torch", "numpy"}) | {"secateur"}
    owners = {
        module: {re.sub(r"[-_.]+", "-", d).lower() for d in distributions}
        for module, distributions in metadata.packages_distributions().items()
    }
    refused = [module for module, owner in owners.items() if not owner & allowed]
    assert "pytest" in refused, "the list of refused packages is wrong: pytest is not on it"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE_THE_PACKAGE, ",".join(refused)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=root,
        env={"PYTHONPATH": str(root / "python"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_go_down_the_floors_only() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("formats/base.py", "import secateur.pruning.prune"),
        ("ops/csr_linear.py", "import secateur.nn.sparse_linear"),
        ("pruning/criteria/random.py", "import secateur.pruning.patterns.nm"),
    ],
)
def test_an_import_that_goes_up_or_across_is_found(tmp_path: Path, file: str, line: str) -> None:
    shutil.copytree(ROOT / "python", tmp_path / "python")
    path = tmp_path / "python" / "secateur" / file
    path.write_text(f"{path.read_text()}\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0, "the contracts hold with a forbidden import in place"
    assert line.removeprefix("import ").rpartition(".")[0] in done.stdout
