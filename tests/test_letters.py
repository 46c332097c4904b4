"""The same way on UCI Letter Recognition, 20,000 rows. Opt-in: its data must be fetched.

apt-get download r-cran-mlbench && dpkg-deb -x r-cran-mlbench_*.deb letters && pip install rdata
SECATEUR_LETTERS=letters python -m pytest -m data tests/test_letters.py
"""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import torch

from tests.whole_way import (
    Data,
    build_mlp,
    correct,
    largest_chance_difference,
    split,
    train,
    train_pruned,
)

EPOCHS = 12

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        "SECATEUR_LETTERS" not in os.environ,
        reason="SECATEUR_LETTERS does not name the unpacked r-cran-mlbench",
    ),
]


@pytest.fixture(scope="module")
def letters() -> Data:
    rdata = pytest.importorskip("rdata", reason="rdata is not installed")
    (path,) = Path(os.environ["SECATEUR_LETTERS"]).rglob("LetterRecognition.rda")
    table = rdata.read_rda(path, default_encoding="ascii")["LetterRecognition"]
    x = torch.tensor(table.iloc[:, 1:].to_numpy(), dtype=torch.float32)
    y = torch.tensor(table.iloc[:, 0].astype("category").cat.codes.to_numpy(), dtype=torch.int64)
    return split((x - x.mean(0)) / x.std(0), y, 16_000)


@pytest.mark.slow
def test_ninety_percent_is_as_accurate_as_dense(letters: Data) -> None:
    dense = build_mlp(16, 26)
    train(dense, torch.optim.Adam(dense.parameters(), lr=1e-3), letters, EPOCHS)
    healed = copy.deepcopy(dense)
    train_pruned(healed, letters, EPOCHS, sparsity=0.9)
    lost = correct(dense, letters) - correct(healed, letters)
    assert lost <= largest_chance_difference(correct(dense, letters), len(letters.test_y))
