"""Timing in turns, the waterfall, sizes and progress."""

from pathlib import Path

import pytest
import torch

from secateur.demo import sizes
from secateur.demo.data import Batch
from secateur.demo.model import Classifier
from secateur.demo.progress import stage
from secateur.demo.timing import take_turns
from secateur.demo.waterfall import ORDER, waterfall


@pytest.fixture(scope="module")
def model() -> Classifier:
    return Classifier(8).eval()


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    contenders = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    times = take_turns(contenders, 3, "turns")
    assert "".join(calls) == "aabb" + "bbaa" + "aabb"
    assert [len(times[name].values) for name in "ab"] == [3, 3]
    low, high = times["a"].quartiles
    assert 0 < low <= times["a"].median <= high


def test_the_waterfall_adds_up_and_leaves_no_hook(model: Classifier) -> None:
    batch = Batch(torch.ones(1, 4, dtype=torch.int64), torch.ones(1, 4).bool(), torch.zeros(1))
    parts = waterfall(model, batch, 2)
    assert tuple(parts.parts) == ORDER
    assert all(ms > 0 for ms in parts.parts.values())
    assert parts.total == sum(parts.parts.values())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_sizes(model: Classifier, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "dense.safetensors"
    sizes.save_dense(model, path)
    found = sizes.sizes(model, path)
    assert found.memory == 4 * sum(p.numel() for p in model.parameters())
    assert found.encoder < found.memory <= found.file


def test_progress_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with stage("pruning", 10) as advance:
        for _ in range(10):
            advance("well")
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[:4] == [f"pruning: {done}/10 well" for done in (2, 4, 6, 8)]
    assert lines[4].startswith("pruning: 0 s")
