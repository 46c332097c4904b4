"""The front door: what is asked for, what is refused, what is reported."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning import Masks, structure
from secateur.pruning.criteria import CRITERIA
from secateur.pruning.evidence import reads
from secateur.pruning.structure import shrink
from tests.pruning.models import mlp
from tests.pruning.structure.judge import assert_equal_to_masked
from tests.pruning.structure.nets import made


def widths(model: nn.Module) -> list[int]:
    return [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]


def rows(model: nn.Module, name: str) -> list[int]:
    kept: list[int] = structure.report(model).kept["tensors"][name][0]
    return kept


@pytest.mark.parametrize(
    ("sparsity", "round_to", "left"),
    [(0.5, 1, 15), (0.5, 8, 16), (0.5, 4, 16), (0.9, 8, 8), (0.99, 16, 16), (0.0, 8, 30)],
)
def test_counts_are_rounded_up(sparsity: float, round_to: int, left: int) -> None:
    model, x = mlp(6, 30, 4), torch.randn(2, 6)
    small = shrink(model, example_inputs=x, sparsity=sparsity, round_to=round_to)
    assert widths(small) == [left, 4]


def test_a_channel_matters_as_the_mean_of_all_its_weights() -> None:
    model, x = mlp(3, 4, 2), torch.randn(2, 3)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([9.0, 1, 1, 5])[:, None].expand(4, 3))
        model[2].weight.copy_(torch.tensor([0.0, 9, 1, 1]).expand(2, 4))
    # means over 3 + 2 weights: 27/5, 21/5, 5/5, 17/5; biases have no say
    small = shrink(model, example_inputs=x, sparsity=0.5, round_to=1)
    assert rows(small, "0.weight") == [0, 1]


def test_ties_keep_the_lowest() -> None:
    model, x = mlp(3, 8, 2), torch.randn(2, 3)
    nn.init.ones_(model[0].weight)
    nn.init.ones_(model[2].weight)
    assert rows(shrink(model, example_inputs=x, sparsity=0.5, round_to=1), "0.weight") == [
        *range(4)
    ]


class Squares:
    """A criterion of the user's own, with the exponent of its pooling."""

    name, needs, pooling = "squares", frozenset[str](), 2.0

    def score(self, weight: Tensor, evidence: object) -> Tensor:
        return weight.abs()


def test_a_criterion_may_pool_otherwise() -> None:
    model, x = mlp(2, 3, 1), torch.randn(2, 2)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 0], [2, 2], [1, 1]]))
        model[2].weight.fill_(1)
    assert rows(shrink(model, example_inputs=x, sparsity=0.6, round_to=1), "0.weight") == [1]
    small = shrink(model, example_inputs=x, sparsity=0.6, round_to=1, criterion=Squares())
    assert rows(small, "0.weight") == [0]


@pytest.mark.parametrize("name", CRITERIA.names())
def test_every_criterion_chooses_channels(name: str) -> None:
    criterion = CRITERIA.get(name)()
    if hasattr(criterion, "draw") or "history" in criterion.needs:
        pytest.skip("it draws its own count, or needs a training run")
    first, last = nn.Conv2d(2, 16, 1), nn.Conv2d(16, 3, 1)
    model = nn.Sequential(first, nn.BatchNorm2d(16), nn.ReLU(), last, nn.BatchNorm2d(3))
    x = torch.randn(4, 2, 3, 3)
    given = {
        "calibration": [x],
        "loss": lambda model, batch: model(batch).square().mean(),
    }
    small = shrink(
        model.eval(),
        example_inputs=x,
        sparsity=0.5,
        criterion=criterion,
        **{word: given[word] for word in reads(criterion)},
    )
    assert small[0].out_channels == 8
    assert_equal_to_masked(small, model, (x,))


def test_inputs_that_are_large_keep_their_channels() -> None:
    model = mlp(3, 4, 2)
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([1.0, 1, 1, 1]))[:, :3] + 0.1)
        model[2].weight.fill_(1)
    x = torch.eye(3) * torch.tensor([1.0, 100, 10])
    ask = {"example_inputs": x, "sparsity": 0.75, "round_to": 1}
    assert rows(shrink(model, criterion="wanda", calibration=[x], **ask), "0.weight") == [1]
    with pytest.raises(ValueError, match="reads no batches"):
        shrink(model, calibration=[x], **ask)


def test_globally_the_weaker_group_loses_more() -> None:
    model, x = mlp(8, 32, 32, 4), torch.randn(2, 8)
    with torch.no_grad():
        model[0].weight.mul_(100)
    small = shrink(model, example_inputs=x, sparsity=0.25, scope="global", round_to=1)
    assert widths(small) == [32, 16, 4]
    # Nothing loses everything: of a group that has lost to the others, one multiple stays.
    small = shrink(model, example_inputs=x, sparsity=0.75, scope="global", round_to=4)
    assert widths(small) == [16, 4, 4]


def test_the_same_generator_draws_the_same() -> None:
    model, x = mlp(8, 64, 4), torch.randn(2, 8)
    first, again, other = (
        shrink(
            model,
            example_inputs=x,
            sparsity=0.5,
            criterion="random",
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )
    assert rows(first, "0.weight") == rows(again, "0.weight") != rows(other, "0.weight")


def test_targets_and_ignore() -> None:
    model, x = mlp(8, 32, 32, 32, 4), torch.randn(2, 8)
    assert widths(shrink(model, example_inputs=x, sparsity=0.5, targets="2")) == [32, 16, 32, 4]
    # A layer left out is left just as it is: it loses no columns either.
    assert widths(shrink(model, example_inputs=x, sparsity=0.5, ignore=["2"])) == [32, 32, 16, 4]
    small = shrink(model, example_inputs=x, sparsity=0.5, targets=nn.Linear, ignore="re:[02]")
    assert widths(small) == [32, 32, 16, 4]
    report = structure.report(small)
    assert [g.why for g in report.groups] == [
        "ignored, with 0.weight",
        "ignored, with 2.weight",
        "",
    ]


def test_masks_say_which_channels_go() -> None:
    model, x = mlp(8, 16, 16, 4), torch.randn(2, 8)
    masks = {
        "0.weight": torch.ones(16, 8, dtype=torch.bool),
        "4.weight": torch.ones(4, 16, dtype=torch.bool),
    }
    masks["0.weight"][[1, 5, 6]] = False  # these come out of nothing
    masks["4.weight"][:, 3] = False  # this goes nowhere
    masks["0.weight"][2, :5] = False  # part of a row
    small = shrink(model, Masks(masks, model), example_inputs=x)
    assert widths(small) == [13, 15, 4]
    assert rows(small, "0.weight") == [i for i in range(16) if i not in (1, 5, 6)]
    assert rows(small, "2.weight") == [i for i in range(16) if i != 3]
    assert_equal_to_masked(small, model, (x,))
    assert widths(shrink(model, masks, example_inputs=x, round_to=4)) == [16, 16, 4]


def test_masks_of_one_of_two_makers_are_not_enough() -> None:
    model, x = made("resnet")
    # 3.conv3 and the shortcut's convolution make the same channels, with others in blocks after.
    mask = torch.ones_like(model.get_parameter("3.conv3.weight"), dtype=torch.bool)
    mask[:8] = False
    small = shrink(model, {"3.conv3.weight": mask}, example_inputs=x)
    group = next(g for g in structure.report(small).groups if g.name == "3.conv3.weight")
    assert group.before == group.after == 64
    assert "masks empty 3.conv3.weight, but not" in group.why


def test_masks_of_a_grouped_attention_take_heads() -> None:
    model, x = made("llama")
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    masks = {}
    for name in names:
        key = f"blocks.0.attention.{name}.weight"
        mask = torch.ones_like(model.get_parameter(key), dtype=torch.bool)
        heads = slice(16, 32) if name in ("q_proj", "o_proj") else slice(8, 16)
        mask[(slice(None), heads) if name == "o_proj" else heads] = False
        masks[key] = mask
    small = shrink(model, masks, example_inputs=x)
    assert small.blocks[0].attention.num_kv == 3
    assert small.blocks[0].attention.q_proj.weight.shape == (48, 32)
    assert_equal_to_masked(small, model, x)


def test_everything_masked_leaves_one() -> None:
    model, x = mlp(8, 16, 4), torch.randn(2, 8)
    mask = torch.zeros(16, 8, dtype=torch.bool)
    assert widths(shrink(model, {"0.weight": mask}, example_inputs=x)) == [1, 4]


def test_every_parameter_is_accounted_for() -> None:
    for name in ("resnet", "vit", "llama"):
        model, x = made(name)
        report = structure.report(shrink(model, example_inputs=x, sparsity=0.5))
        said = {(p.name, p.dim) for g in report.groups for p in g.parts}
        said |= {(s.name, s.dim) for s in report.stays}
        for key, parameter in model.named_parameters():
            kernel = isinstance(model.get_submodule(key.rpartition(".")[0]), nn.Conv2d)
            for dim, size in enumerate(parameter.shape):
                if size > 1 and not (kernel and dim > 1):
                    assert (key, dim) in said, (key, dim)
        assert all(s.why for s in report.stays)


def test_the_report_prints_and_travels() -> None:
    model, x = mlp(8, 32, 4), torch.randn(2, 8)
    small = shrink(model, example_inputs=x, sparsity=0.5)
    text = str(structure.report(small))
    assert text == (
        "channels of  before  after  tensors  why no more\n"
        "0.weight         32     16        3\n"
        "\n"
        "stays     dim  positions  of                                           why\n"
        "0.weight    1          8   8  made while the model runs, or an input of it\n"
        "2.weight    0          4   4                        an output of the model\n"
        "2.bias      0          4   4                        an output of the model\n"
        "\n"
        "parameters: 420 -> 212 (49.5% fewer)"
    )
    for twin in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert str(structure.report(twin)) == text
    with pytest.raises(ValueError, match="wanted one that shrink returned"):
        structure.report(model)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ValueError, "either masks or sparsity, got neither"),
        ({"sparsity": 0.5, "masks": {}}, ValueError, "got both"),
        ({"sparsity": 50}, ValueError, "did you mean 0.5"),
        ({"sparsity": 0.5, "round_to": 0}, ValueError, "round_to must be a whole number above 0"),
        ({"sparsity": 0.5, "round_to": 2.0}, TypeError, "round_to must be a whole number"),
        ({"sparsity": 0.5, "criterion": "nonsense"}, ValueError, "unknown criterion"),
        ({"sparsity": 0.5, "scope": "nonsense"}, ValueError, "unknown scope"),
        ({"sparsity": 0.5, "targets": "7"}, ValueError, "matches nothing"),
        ({"sparsity": 0.5, "ignore": "7"}, ValueError, "matches nothing"),
        ({"sparsity": 0.5, "example_inputs": []}, ValueError, "at least one call"),
        ({"masks": {"0.bias": torch.ones(3)}}, TypeError, "bool tensor"),
        ({"masks": {"9.weight": torch.ones(3) > 0}}, ValueError, "no parameter '9.weight'"),
    ],
)
def test_what_it_refuses(arguments: dict[str, object], error: type[Exception], says: str) -> None:
    model = mlp(8, 32, 4)
    with pytest.raises(error, match=says):
        shrink(model, **{"example_inputs": torch.randn(2, 8), **arguments})  # type: ignore[arg-type]
    assert widths(model) == [32, 4]


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
def test_models_that_cannot_be_watched() -> None:
    x = torch.randn(2, 8)
    with pytest.raises(ValueError, match="meta device"):
        shrink(nn.Linear(8, 4, device="meta"), example_inputs=x, sparsity=0.5)
    with pytest.raises(ValueError, match="no shape yet"):
        shrink(nn.LazyLinear(4), example_inputs=x, sparsity=0.5)
    with pytest.raises(ValueError, match="is compiled"):
        shrink(torch.compile(mlp(8, 8, 4)), example_inputs=x, sparsity=0.5)


class Sly(nn.Module):
    """Its output hangs on a number of channels that is read where nothing can see it."""

    def __init__(self, breaks: bool) -> None:
        super().__init__()
        self.first, self.last, self.breaks = nn.Linear(8, 32), nn.Linear(32, 4), breaks

    def forward(self, x: Tensor) -> Tensor:
        width = self.first.weight.detach().numpy().shape[0]
        if self.breaks and width != 32:
            raise KeyError("width")
        y: Tensor = self.last(self.first(x)) * width
        return y


@pytest.mark.parametrize(
    ("breaks", "says"), [(False, "differs from the masked one"), (True, "does not run")]
)
def test_a_wrong_result_is_never_handed_out(breaks: bool, says: str) -> None:
    model, x = Sly(breaks), torch.randn(2, 8)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match=says):
        shrink(model, example_inputs=x, sparsity=0.5, inplace=True)
    assert model.first.out_features == 32
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())


def test_it_says_how_far_it_is() -> None:
    x, heard = torch.randn(2, 8), []
    calls = [x, (x,)]
    shrink(
        mlp(8, 32, 4),
        example_inputs=calls,
        sparsity=0.5,
        progress=lambda done, total, what: heard.append((done, total, what)),
    )
    assert heard == [
        (0, 4, "watching call 1 of 2"),
        (1, 4, "watching call 2 of 2"),
        (2, 4, "choosing channels"),
        (3, 4, "comparing with the masked model"),
    ]


def test_a_skeleton_of_other_sizes_is_refused() -> None:
    small = shrink(mlp(8, 32, 4), example_inputs=torch.randn(2, 8), sparsity=0.5)
    other = mlp(8, 24, 4)
    with pytest.raises(ValueError, match=r"wanted '0.weight' of sizes \[32, 8\]"):
        structure.apply(other, structure.report(small).kept)
    assert widths(other) == [24, 4]


def test_parameters_on_the_same_memory_are_cut_alike() -> None:
    model, x = mlp(8, 8, 8, 8), torch.randn(2, 8)
    model[2].weight = nn.Parameter(model[0].weight.data)
    small = shrink(model, example_inputs=x, sparsity=0.5, round_to=1)
    assert_equal_to_masked(small, model, (x,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types(dtype: torch.dtype) -> None:
    model, x = made("vgg")
    small = shrink(model.to(dtype), example_inputs=x[0].to(dtype), sparsity=0.5)
    assert small(x[0].to(dtype)).dtype == dtype


def test_channels_last_and_frozen_parameters_stay_so() -> None:
    model, x = made("resnet")
    model = model.to(memory_format=torch.channels_last).requires_grad_(False)
    small = shrink(model, example_inputs=x, sparsity=0.5)
    weight = small.get_parameter("4.conv2.weight")
    assert weight.shape == (8, 8, 3, 3)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(p.requires_grad for p in small.parameters())
