"""verify() finds each thing that can be wrong, and only that."""

from __future__ import annotations

import pytest
import torch

from secateur.pruning import Masks, prune, verify
from tests.pruning.models import Zoo, mlp


def test_a_pruned_model_passes() -> None:
    for scope in ("layer", "row", "global"):
        model = Zoo()
        masks = prune(model, 0.7, scope=scope)
        report = verify(model, masks)
        report.require()
        assert report.ok
        assert [f.name for f in report.findings] == list(masks)
    model = mlp(16, 8, 4)
    verify(model, prune(model, pattern="2:4"), pattern="2:4").require()


def test_a_revived_weight_is_found() -> None:
    model = mlp(16, 8)
    masks = prune(model, 0.5)
    where = tuple((~masks["0.weight"]).nonzero()[0].tolist())
    with torch.no_grad():
        model[0].weight[where] = 0.25
    report = verify(model, masks)
    assert not report.ok
    with pytest.raises(ValueError, match=r"0.weight: 1 removed weights are not zero, the first at"):
        report.require()
    assert "0.25" in str(report)


def test_a_broken_pattern_is_found_in_the_weights() -> None:
    model = mlp(16, 8)
    prune(model, 0.5)
    with pytest.raises(ValueError, match=r"keep [34], where 2:4 allows 2 kept of 4"):
        verify(model, pattern="2:4").require()


def test_sparser_than_the_pattern_is_no_fault() -> None:
    model = mlp(16, 8)
    masks = prune(model, pattern="1:4")
    verify(model, masks, pattern="2:4").require()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sparsity": 0.5}, "keeps 63 of 128, wanted 64"),
        ({"sparsity": 0.5, "scope": "row"}, r"row \d keeps 7 of 16, wanted 8 \(1 of 8 rows"),
        ({"sparsity": 0.5, "scope": "global"}, "all layers together keep 63 of 128, wanted 64"),
        ({"pattern": "2:4"}, r"row \d+ keeps 1 of 4, wanted 2"),
    ],
)
def test_a_miscount_is_found(arguments: dict[str, object], says: str) -> None:
    model = mlp(16, 8)
    masks = prune(model, **arguments)
    mask = masks["0.weight"].clone()
    mask[tuple(mask.nonzero()[0].tolist())] = False
    fewer = Masks({"0.weight": mask}, model, masks.origin)
    fewer.apply_()
    with pytest.raises(ValueError, match=says):
        verify(model, fewer).require()


def test_the_table() -> None:
    model = mlp(16, 8)
    assert str(verify(model, prune(model, 0.5))).splitlines() == [
        "parameter  zeros   of  sparsity  verdict",
        "0.weight      64  128    50.00%     good",
        "notes:",
        "0.bias  bias",
    ]
