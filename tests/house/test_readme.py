"""Pages are executed: the Python of each in one namespace, top to bottom; the README's shell too.

Only the two set-up commands are left out: `make demo` runs for minutes, and `make test` is this.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TECHNIQUES = ROOT / "docs" / "techniques.md"
SET_UP = {"make demo", "make test"}


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell_lines() -> list[str]:
    lines = "".join(blocks(README, "sh")).splitlines()
    return [said for said in (line.partition("  #")[0].strip() for line in lines) if said]


def test_readme_has_both_set_up_commands() -> None:
    assert set(shell_lines()) >= SET_UP


@pytest.mark.parametrize("page", [README, TECHNIQUES], ids=lambda p: p.stem)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    found = blocks(page, "python")
    assert found
    for number, block in enumerate(found, 1):
        exec(compile(block, f"{page.name}, python block {number}", "exec"), namespace)


def test_results_of_techniques_are_those_of_the_table() -> None:
    """Both are written by examples/techniques.py; a number put in by hand would differ."""
    (table,) = blocks(TECHNIQUES, "text")
    rows = {tuple(re.split(r"  +", line)[:2]): line for line in table.splitlines()[1:]}
    markers = re.findall(r"(.*)<!-- measured: (\S+) (.+?) -->", TECHNIQUES.read_text())
    assert markers
    for said, part, name in markers:
        wanted = re.findall(r"\d+\.\d%|\d\.\d{3}", rows[part, name])
        assert wanted, f"{part} {name} was not measured: {rows[part, name]}"
        assert re.findall(r"\d+\.\d%|\d\.\d{3}", said) == wanted, f"{part} {name}"


@pytest.mark.slow
@pytest.mark.parametrize("line", [said for said in shell_lines() if said not in SET_UP])
def test_shell_lines_run(line: str, tmp_path: Path) -> None:
    """In a copy of the tree; pip installs into a folder of its own and fetches nothing."""
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "out")
    shutil.copytree(ROOT, tree, ignore=ignored)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if "pip install" in line and "." in line.split()[-1]:
        environment |= {"PIP_TARGET": str(tmp_path / "site"), "PIP_NO_DEPS": "1"}
        # What is installed computes the same, slowly: all of the kernels at -O3 take minutes.
        environment |= {"SKBUILD_CMAKE_DEFINE": "SECATEUR_OPTIMIZE=-O1;SECATEUR_LANES=4"}
    environment |= {"PIP_NO_INDEX": "1"}
    done = subprocess.run(
        ["bash", "-euc", line],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, id=p.stem, marks=[pytest.mark.slow] * (p.stem == "techniques"))
        for p in sorted((ROOT / "examples").glob("[!_]*.py"))
    ],
)
def test_examples_run(path: Path, tmp_path: Path) -> None:
    quick = ["--quick"] if '"--quick"' in path.read_text() else []
    done = subprocess.run(
        [sys.executable, str(path), *quick],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda p: p.stem
)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    paths = re.findall(r"`((?:python|csrc|tests|benchmarks|examples|requirements)/[\w./]+)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert not missing, f"{page.name} names what is not there: {missing}"
