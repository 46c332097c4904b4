"""sc.explain and the record it reads: it travels with the model and follows what is done to it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
from torch import nn

import secateur as sc
from secateur.planning import record
from secateur.planning.record import LayerRecord
from tests.planning.models import WIDTH, layer, mlp, reason, x_of
from tests.support.data import block_mask, crossed_mask, generator
from tests.support.judge import exact


def test_a_converted_part_of_a_model_is_explained_under_its_name() -> None:
    whole = nn.Sequential()
    whole.add_module("body", sc.convert(mlp(), gate="always"))
    whole.add_module("by_hand", sc.SparseLinear.from_dense(layer()))
    notes = {note.name: note.reason for note in sc.explain(whole).layers}
    assert notes["body.0"] == "gate='always'"
    assert notes["by_hand"] == "made by hand; never measured"
    whole.body[0] = layer()
    assert reason(whole, "body.0") == "it was sparse, and has been replaced since"


@pytest.mark.parametrize("carry", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_the_record_travels_with_the_model(carry: Callable[[nn.Module], nn.Module]) -> None:
    fast = sc.convert(mlp(), x_of(5, WIDTH), gate="model")
    twin = carry(fast)
    assert str(sc.explain(twin)) == str(sc.explain(fast))
    exact(twin(x_of(5, WIDTH)), fast(x_of(5, WIDTH)))


def test_explain_of_a_plain_model_and_of_no_model() -> None:
    assert sc.explain(mlp()).rows == ()
    assert "nothing to explain" in str(sc.explain(mlp()))
    with pytest.raises(TypeError, match=r"model: wanted a torch\.nn\.Module"):
        sc.explain("model")


def test_the_record_is_plain_data() -> None:
    fast = sc.convert(mlp(), x_of(5, WIDTH), gate="model")
    noted = fast.__dict__[record.ATTRIBUTE]
    assert record.Record.from_json(noted.to_json()) == noted
    for wrong in ({}, {"layers": 3}, {"layers": [{"name": 1}]}, {**noted.to_json(), "more": 1}):
        with pytest.raises(ValueError, match="not a record of this version"):
            record.Record.from_json(wrong)
    assert isinstance(noted.layers[0], LayerRecord)


def test_what_has_no_kernel_says_that_it_is_slow() -> None:
    fast = sc.convert(mlp().double(), rows=[8], gate="always")
    told = sc.explain(fast)
    assert {row.kernel for row in told.rows if row.op != "dense"} == {"reference"}
    assert "slow here" in str(told)
    assert "none for float64" in str(told) or "SECATEUR" in str(told) or "no compiled" in str(told)


def test_rows_need_no_kernel_of_ours() -> None:
    pruned = layer()
    pruned.weight = nn.Parameter(crossed_mask(WIDTH, WIDTH, generator()).float())
    told = sc.explain(sc.convert(nn.Sequential(pruned.bfloat16()), rows=[8], gate="always"))
    assert [(row.op, row.kernel) for row in told.rows] == [("rows_linear", "torch")]
    assert "slow here" not in str(told)


def test_blocks_say_which_types_they_have_no_kernel_for() -> None:
    pruned = layer()
    pruned.weight = nn.Parameter(block_mask(WIDTH, WIDTH, 4, 1, generator()).float())
    told = sc.explain(sc.convert(nn.Sequential(pruned.bfloat16()), rows=[8], gate="always"))
    assert [(row.op, row.kernel) for row in told.rows] == [("bsr_linear", "reference")]
    assert "none for bfloat16 bsr" in str(told) or "SECATEUR" in str(told)
