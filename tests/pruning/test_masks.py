"""Masks beside the model: their model, their copies, their state."""

from __future__ import annotations

import copy
import gc
import io
import pickle

import pytest
import torch
from torch import nn

from secateur.pruning import Masks, prune
from tests.pruning.models import Zoo, mlp


def test_a_mapping_by_parameter_name() -> None:
    model = mlp(8, 4, 2)
    masks = prune(model, 0.5)
    named = dict(model.named_parameters())
    assert list(masks) == ["0.weight", "2.weight"]
    assert all(mask.shape == named[name].shape for name, mask in masks.items())
    assert (masks.kept, masks.total, masks.sparsity) == (20, 40, 0.5)


def test_from_the_zeros_there_are() -> None:
    model = mlp(8, 4, 2)
    pruned = prune(model, 0.5)
    assert Masks.from_model(model) == pruned
    assert list(Masks.from_model(model, ignore="2")) == ["0.weight"]


def test_they_do_not_keep_their_model_alive() -> None:
    model = mlp(8, 4)
    masks = prune(model, 0.5)
    del model
    gc.collect()
    with pytest.raises(ValueError, match="no model, or it is gone"):
        masks.apply_()


def test_they_fit_a_copy_of_the_model() -> None:
    model = mlp(8, 4)
    twin = copy.deepcopy(model)
    masks = prune(model, 0.5)
    masks.apply_(twin)
    assert torch.equal(twin[0].weight, model[0].weight)


def test_a_shared_weight_answers_to_its_masks_name() -> None:
    model = Zoo()
    masks = prune(model, 0.5, targets="head")
    assert list(masks) == ["head.weight"]
    assert torch.equal(model.embedding.weight != 0, masks["head.weight"])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_no_model_until_it_is_given_one(copied: object) -> None:
    model = mlp(8, 4)
    masks = prune(model, 0.5)
    twin = copied(masks)
    assert twin == masks
    assert twin.origin == masks.origin
    with pytest.raises(ValueError, match="no model"):
        twin.apply_()
    twin.apply_(model)


def test_state_goes_through_a_file_that_runs_no_code() -> None:
    masks = prune(mlp(8, 4), pattern="2:4")
    file = io.BytesIO()
    torch.save(masks.state_dict(), file)
    file.seek(0)
    other = prune(mlp(8, 4), 0.0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other == masks
    assert other.origin == masks.origin


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (mlp(8, 6), r"mask of '0.weight' is \[4, 8\], the parameter is \[6, 8\]"),
        (nn.Linear(8, 4), "no parameter '0.weight', which is masked"),
    ],
)
def test_another_model_is_refused_untouched(model: nn.Module, says: str) -> None:
    masks = prune(mlp(8, 4), 0.5)
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=says):
        masks.apply_(model)
    for ours, theirs in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_another_state_is_refused_untouched() -> None:
    masks = prune(mlp(8, 4), 0.5)
    before = dict(masks)
    with pytest.raises(ValueError, match=r"must be \[4, 8\], not \[6, 8\]"):
        masks.load_state_dict(prune(mlp(8, 6), 0.5).state_dict())
    with pytest.raises(ValueError, match=r"masks for other parameters: 2.weight in one set only"):
        masks.load_state_dict(prune(mlp(8, 4, 2), 0.5).state_dict())
    assert dict(masks) == before


def test_a_mask_is_bool() -> None:
    with pytest.raises(
        TypeError, match=r"must be a bool tensor, true where kept, not torch\.float32"
    ):
        Masks({"weight": torch.ones(2, 2)})


def test_equal_masks_are_equal_and_are_no_key() -> None:
    model = mlp(8, 4)
    assert prune(model, 0.5) == prune(model, 0.5) != prune(model, 0.75)
    with pytest.raises(TypeError, match="unhashable"):
        hash(prune(model, 0.5))


def test_the_table() -> None:
    assert str(prune(mlp(8, 4, 2), 0.5)).splitlines() == [
        "parameter  shape  kept  of  sparsity",
        "0.weight     4x8    16  32    50.00%",
        "2.weight     2x4     4   8    50.00%",
        "in all              20  40    50.00%",
        "notes:",
        "0.bias  bias",
        "2.bias  bias",
    ]
