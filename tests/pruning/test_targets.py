"""Who is meant, and each weight as [out, in]."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from secateur.pruning.targets import select
from tests.pruning.models import Conv1D, Zoo, mlp


def test_by_default_everything_that_can_be_sparse() -> None:
    assert list(select(Zoo())) == [
        "conv.weight",
        "grouped.weight",
        "hugging.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "blocks.0.weight",
        "blocks.1.weight",
        "head.weight",
    ]


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        ("blocks.1", ["blocks.1.weight"]),
        ("blocks.*", ["blocks.0.weight", "blocks.1.weight"]),
        ("re:blocks.[01]|conv$", ["conv.weight", "blocks.0.weight", "blocks.1.weight"]),
        ("attention.in_proj_weight", ["attention.in_proj_weight"]),
        ("attention", ["attention.in_proj_weight"]),
        (nn.Conv1d, ["line.weight"]),
        ([nn.Conv2d, "head"], ["conv.weight", "grouped.weight", "head.weight"]),
        (lambda name, module: name.startswith("bl"), ["blocks.0.weight", "blocks.1.weight"]),
    ],
)
def test_selectors(targets: object, found: list[str]) -> None:
    assert list(select(Zoo(), targets)) == found


def test_ignore_wins() -> None:
    assert list(select(Zoo(), "blocks.*", ignore="*.0")) == ["blocks.1.weight"]
    assert list(select(Zoo(), ["blocks.*", "conv"], ignore=nn.Conv2d)) == [
        "blocks.0.weight",
        "blocks.1.weight",
    ]
    assert "attention.in_proj_weight" not in select(Zoo(), ignore="attention.in_proj_weight")


def test_a_shared_weight_appears_once_and_is_ignored_by_either_name() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert list(select(nn.Sequential(first, second))) == ["0.weight"]
    assert list(select(nn.Sequential(first, second), "1")) == ["1.weight"]
    assert "head.weight" not in select(Zoo(), ignore="embedding")


def test_a_shared_module_answers_to_both_names() -> None:
    layer = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": layer, "b": layer})
    assert list(select(model)) == ["a.weight"]
    assert list(select(model, "b")) == ["b.weight"]


def test_the_model_may_be_the_layer() -> None:
    assert list(select(nn.Linear(4, 2))) == ["weight"]


def test_attention_with_its_own_key_and_value_widths() -> None:
    found = select(nn.MultiheadAttention(8, 2, kdim=6, vdim=4))
    assert list(found) == ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]


@pytest.mark.parametrize("key", [*select(Zoo()), "line.weight"])
def test_a_matrix_goes_back_into_its_shape(key: str) -> None:
    target = select(Zoo(), key)[key]
    assert torch.equal(target.from_matrix(target.matrix), target.weight)


def test_rows_are_outputs_and_columns_run_over_channels_first() -> None:
    """The matrix times the unfolded pixels, channel fastest, is the convolution."""
    conv = nn.Conv2d(4, 6, (3, 2), bias=False)
    conv.weight.data = torch.randint(-4, 5, conv.weight.shape).float()
    x = torch.randint(-4, 5, (1, 4, 5, 7)).float()
    pixels = F.unfold(x, (3, 2)).reshape(4, 6, -1).transpose(0, 1).reshape(24, -1)
    assert torch.equal(
        select(conv)["weight"].matrix @ pixels, F.conv2d(x, conv.weight).flatten(2)[0]
    )


def test_hugging_face_weights_are_transposed() -> None:
    layer = Conv1D(5, 3)
    x = torch.randint(-4, 5, (2, 3)).float()
    layer.weight.data = torch.randint(-4, 5, (3, 5)).float()
    assert torch.equal(F.linear(x, select(layer)["weight"].matrix), layer(x))


@pytest.mark.parametrize(
    ("targets", "ignore", "says"),
    [
        ("block.0", (), "targets: 'block.0' matches nothing; near it: 'blocks.0', 'blocks.1'"),
        ("zzz", (), "the prunable layers are 'conv', 'grouped'"),
        (nn.LSTM, (), "LSTM.*matches nothing"),
        ("norm", (), "'norm' matches only LayerNorm, with no weight to prune of its own"),
        ("blocks", (), r"matches only ModuleList.*use the glob 'blocks\.\*'"),
        (None, "haed", "ignore: 'haed' matches nothing; near it: 'head'"),
        ("head", "head", "nothing to prune: targets='head' and ignore='head'"),
        ("re:(", (), "is no regular expression"),
    ],
)
def test_a_selector_that_means_nothing_is_refused(
    targets: object, ignore: object, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        select(Zoo(), targets, ignore)


def test_what_may_be_ignored_need_not_be_prunable() -> None:
    assert select(Zoo(), ignore=["norm", nn.Embedding])


def test_a_selector_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"module class or a predicate .*, not 3"):
        select(Zoo(), [3])


def pruned_by_torch() -> nn.Module:
    model = mlp(4, 4, 4)
    prune.l1_unstructured(model[2], "weight", 0.5)
    return model


def parametrized() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), parametrizations.weight_norm(nn.Linear(4, 4)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (pruned_by_torch, r"'2.weight' is not a parameter.*prune.remove.*ignore=\['2'\]"),
        (parametrized, r"'1.weight' is not a parameter.*remove_parametrizations"),
        (lambda: mlp(4, 4).to("meta"), "'0.weight' is on the meta device"),
        (lambda: mlp(4, 4).to(torch.complex64), "complex64, not floating point"),
    ],
)
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_a_weight_that_cannot_be_pruned_is_named(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        select(make())


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_lazy_layer_must_run_first() -> None:
    with pytest.raises(ValueError, match="'weight' has no shape yet: run the model once"):
        select(nn.LazyLinear(4))
