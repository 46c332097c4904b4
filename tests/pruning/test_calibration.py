"""What is learnt from batches: exact against F.unfold and plain sums, and nothing left behind."""

from __future__ import annotations

import copy
import gc
import io
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.pruning import progress, prune
from secateur.pruning.criteria import find_criterion
from secateur.pruning.evidence import Request, gather
from secateur.pruning.targets import select
from tests.pruning.models import Conv1D, mlp
from tests.pruning.test_prune import assert_same_state, state


def integers(*shape: int) -> Tensor:
    return torch.randint(-3, 4, shape).float()


def norms(model: nn.Module, batches: object, targets: Any = None) -> dict[str, Tensor]:
    found = select(model, targets)
    evidence = gather(Request(find_criterion("wanda"), model, found, batches))
    return {key: value.get("input_norms", "wanda") for key, value in evidence.items()}


def assert_squares(found: Tensor, squares: Tensor) -> None:
    """The squares are whole numbers, so that there is one right answer, to the bit."""
    assert found.dtype == torch.float64
    assert torch.equal(found, squares.double().sqrt())


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 5), (2, 1, 4, 5), (0, 5), (3, 0)])
def test_of_a_linear_layer_all_leading_dimensions_are_rows(shape: tuple[int, ...]) -> None:
    x = integers(*shape)
    squares = x.square().sum(tuple(range(len(shape) - 1))) if len(shape) > 1 else x.square()
    assert_squares(norms(nn.Linear(shape[-1], 3), [x])["weight"], squares[None])


def test_of_hugging_faces_conv1d_inputs_are_rows_of_the_weight() -> None:
    """The weight is [in, out]: taking its second dimension for inputs fails where they differ."""
    x = integers(2, 4, 5)
    found = norms(Conv1D(7, 5), [x])["weight"]
    assert_squares(found, x.square().sum((0, 1))[None])


CONVS: list[dict[str, Any]] = [
    {},
    {"padding": 1},
    {"padding": (2, 0)},
    {"padding": 1, "stride": 2},
    {"padding": (1, 2), "stride": (2, 3), "dilation": (2, 1)},
    {"padding": "same"},
    {"padding": "same", "dilation": 2},
    {"padding": "valid"},
    {"padding": "same", "kernel_size": (2, 4)},
    {"padding": 2, "padding_mode": "reflect"},
    {"padding": "same", "padding_mode": "circular", "kernel_size": (2, 3)},
    {"padding": (1, 0), "padding_mode": "replicate", "stride": 2},
    {"groups": 2, "padding": 1},
    {"groups": 4, "kernel_size": 1},
    {"groups": 4, "padding": 2, "stride": 2, "dilation": 2},
]


def unfolded(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return the squares that each column of each group's weight meets, by F.unfold."""
    high, wide = conv.kernel_size
    if conv.padding == "same":
        spread = [(k - 1) * d for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
        pads = [(total // 2, total - total // 2) for total in spread]
    else:
        pads = [(p, p) for p in ((0, 0) if conv.padding == "valid" else conv.padding)]
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(x, [*pads[1], *pads[0]], mode=mode)
    squares = []
    for part in padded.chunk(conv.groups, 1):
        columns = F.unfold(part, conv.kernel_size, conv.dilation, 0, conv.stride)
        per_tap = columns.square().sum((0, 2)).reshape(-1, high * wide)
        squares.append(per_tap.T.flatten())
    return torch.stack(squares)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("words", CONVS, ids=str)
def test_of_a_convolution_it_is_unfold(words: dict[str, Any]) -> None:
    conv = nn.Conv2d(8, 4, **{"kernel_size": 3, **words})
    x = integers(2, 8, 9, 10)
    assert_squares(norms(conv, [x])["weight"], unfolded(x, conv))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("words", CONVS, ids=str)
def test_the_columns_are_those_of_the_weight(words: dict[str, Any]) -> None:
    """By the definition: y is linear in each weight, and its slope is the input of that column."""
    conv = nn.Conv2d(8, 4, bias=False, **{"kernel_size": 3, **words})
    x = integers(1, 8, 9, 10)
    target = select(conv)["weight"]
    found = norms(conv, [x])["weight"]
    rows, columns = target.matrix.shape
    for row, column in ((0, 0), (rows - 1, columns - 1), (rows // 2, columns // 3)):
        probe = torch.zeros(rows, columns)
        probe[row, column] = 1.0
        conv.weight.data = target.from_matrix(probe).contiguous()
        group = row * conv.groups // rows
        assert found[group, column] == conv(x).double().square().sum().sqrt()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_of_one_and_three_dimensions(groups: int) -> None:
    for conv, x in (
        (nn.Conv1d(4, 6, 3, 2, 1, 2, groups), integers(2, 4, 11)),
        (nn.Conv3d(4, 6, (1, 2, 3), (1, 2, 1), (0, 1, 1), groups=groups), integers(2, 4, 3, 5, 6)),
        (nn.Conv1d(4, 6, 4, padding="same", groups=groups), integers(2, 4, 9)),
    ):
        key, target = next(iter(select(conv, nn.Module).items()))
        found = norms(conv, [x], nn.Module)[key]
        conv.bias.data.zero_()
        for column in range(target.matrix.shape[1]):
            probe = torch.zeros(target.matrix.shape)
            probe[:, column] = 1.0
            conv.weight.data = target.from_matrix(probe).contiguous()
            squares = conv(x).double().square().flatten(2).sum((0, 2))
            assert_squares(found[:, column], squares.reshape(groups, -1)[:, 0])


def test_an_image_without_a_batch_is_one_image() -> None:
    conv, x = nn.Conv2d(3, 2, 2), integers(3, 5, 5)
    assert torch.equal(norms(conv, [x])["weight"], norms(conv, [x[None]])["weight"])


@pytest.mark.parametrize("words", [{}, {"kdim": 6, "vdim": 4}, {"bias": False}])
@pytest.mark.parametrize("batch_first", [False, True])
def test_attention_knows_what_each_projection_reads(
    words: dict[str, Any], batch_first: bool
) -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=batch_first, **words).double()
    query, key = integers(3, 3, 8).double(), integers(3, 3, words.get("kdim", 8)).double()
    value = integers(3, 3, words.get("vdim", 8)).double()
    found = norms(model, [(query, key, value)])
    squares = [x.square().sum((0, 1)) for x in (query, key, value)]
    if words.get("kdim"):
        for name, wanted in zip("qkv", squares, strict=True):
            assert_squares(found[f"{name}_proj_weight"], wanted[None])
    else:
        assert_squares(found["in_proj_weight"], torch.stack(squares))
    # With the identity as its output projection, the module returns what that reads.
    model.out_proj.weight.data = torch.eye(8, dtype=torch.float64)
    if model.out_proj.bias is not None:
        model.out_proj.bias.data.zero_()
    with torch.no_grad():
        wanted = model.eval()(query, key, value)[0].square().sum((0, 1)).sqrt()[None]
    # A sum of 9 squares, and a root, in another order.
    off = 12 * torch.finfo(torch.float64).eps * wanted
    assert bool(((found["out_proj.weight"] - wanted).abs() <= off).all())


def test_an_encoder_layer_in_eval_mode_does_not_go_past_its_modules() -> None:
    """torch has one fused kernel for the whole layer, which calls none of its modules."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    before = torch.backends.mha.get_fastpath_enabled()
    found = norms(layer, [torch.randn(2, 3, 8)])
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert len(found) == 4
    assert all(bool((norm > 0).any()) for norm in found.values())


class Named(nn.Module):
    """Takes keyword arguments, and returns no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, scale: float = 1.0, *, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.layer(input=scale * x)}


def test_batches_are_tensors_tuples_lists_and_mappings() -> None:
    x = integers(4, 5)
    squares = x.square().sum(0, keepdim=True)
    layer = nn.Linear(5, 3)
    assert_squares(norms(layer, [x])["weight"], squares)
    assert_squares(norms(layer, x)["weight"], squares)
    assert_squares(norms(layer, [(x,), [x]])["weight"], 2 * squares)
    assert_squares(norms(layer, ({"input": part} for part in (x, x)))["weight"], 2 * squares)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=3)
    assert_squares(norms(layer, loader)["weight"], squares)
    assert_squares(norms(Named(), {"x": x})["layer.weight"], squares)
    ordered = OrderedDict(x=x, scale=2.0)
    assert_squares(norms(Named(), [ordered])["layer.weight"], 4 * squares)


def test_a_layer_that_is_called_twice_counts_both() -> None:
    layer = nn.Linear(4, 4, bias=False)
    layer.weight.data = 2 * torch.eye(4)
    x = integers(3, 4)
    squares = 5 * x.square().sum(0, keepdim=True)
    assert_squares(norms(nn.Sequential(layer, layer), [x])["0.weight"], squares)
    twin = nn.Linear(4, 4, bias=False)
    twin.weight = layer.weight
    assert_squares(norms(nn.Sequential(layer, twin), [x])["0.weight"], squares)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_are_wider_than_the_model(dtype: torch.dtype) -> None:
    """300 squares of 100 are beyond float16, and 4096 + 1 is 4096 in bfloat16."""
    layer = nn.Linear(2, 2).to(dtype)
    x = torch.ones(300, 2, dtype=dtype)
    x[:, 0] = 100
    x[0, 1] = 64
    assert_squares(norms(layer, [x])["weight"], torch.tensor([[3e6, 4096 + 299.0]]))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)


def network() -> nn.Sequential:
    """Modules with modes, buffers and dropout, some of them not in the mode of the others."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), Mean(), nn.Linear(4, 5)
    )
    model.train()
    model[1].eval()
    return model


def traces(model: nn.Module) -> list[Any]:
    """Return everything that a run could leave on a model."""
    return [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
    ] + [p.grad for p in model.parameters()]


def failing(how: str) -> Iterator[Any]:
    yield integers(2, 3, 6, 6)
    if how == "batches":
        raise RuntimeError("the disk is gone")
    if how == "shape":
        yield torch.randn(2, 4, 6, 6)
    if how == "nan":
        yield torch.full((2, 3, 6, 6), torch.nan)


@pytest.mark.parametrize("how", ["none", "batches", "shape", "nan"])
def test_whatever_happens_the_model_is_as_it_was(how: str) -> None:
    model = network()
    before, left, random = state(model), traces(model), torch.get_rng_state()
    if how == "none":
        norms(model, failing(how))
    else:
        with pytest.raises((ValueError, RuntimeError)):
            prune(model, 0.5, criterion="wanda", calibration=failing(how))
    assert_same_state(model, before)
    assert traces(model) == left
    assert torch.equal(torch.get_rng_state(), random), "torch's own generator was drawn from"


def test_it_runs_in_eval_mode() -> None:
    """Dropout would change the norms, and BatchNorm its statistics."""
    model = network()
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(norms(model, [x])["4.weight"], norms(model.eval(), [x])["4.weight"])


def test_activations_are_not_kept() -> None:
    model, seen = mlp(64, 64, 64, 64), []
    model[0].register_forward_hook(lambda *args: seen.append(weakref.ref(args[-1])))
    found = norms(model, (torch.randn(32, 64) for _ in range(3)))
    gc.collect()
    assert len(seen) == 3
    assert not [ref for ref in seen if ref() is not None]
    assert sum(norm.numel() for norm in found.values()) == 3 * 64


class Lazy(nn.Module):
    """A layer that forward never calls, and one whose inputs are not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + F.linear(x, self.second.weight)


def overflowing() -> nn.Module:
    model = mlp(4, 4, 4, 4)
    model[0].bias.data.fill_(torch.inf)
    return model


@pytest.mark.parametrize(
    ("model", "calibration", "error", "says"),
    [
        (mlp(4, 4), None, ValueError, r"'wanda' looks at the inputs.*calibration=\[...\]"),
        (mlp(4, 4), [], ValueError, "calibration gave no batch: it is empty"),
        (mlp(4, 4), iter([]), ValueError, "gave no batch.*an iterator that was read"),
        (mlp(4, 4), 3, TypeError, r"an iterable of batches.*for example \[x\], not int"),
        (mlp(4, 4), (torch.ones(1, 4),), TypeError, "not tuple"),
        (mlp(4, 4), [torch.ones(1, 5)], ValueError, "1 positional arguments its forward raised"),
        (mlp(4, 4), [(torch.ones(1, 4), 3)], ValueError, "2 positional.*leave labels out of it"),
        (Lazy(), [torch.ones(1, 4)], ValueError, r"'second.weight' never ran.*ignore=\['second'\]"),
        (mlp(4, 4), [torch.full((2, 4), torch.nan)], ValueError, "inputs of '0.weight' hold NaN"),
        (overflowing(), [torch.ones(1, 4)], ValueError, "inputs of '2.weight' hold NaN or inf"),
        (mlp(4, 4), [torch.full((2, 4), 1e30)], ValueError, "'0.weight'.*their squares overflow"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(
    model: nn.Module, calibration: Any, error: type[Exception], says: str
) -> None:
    before, left = state(model), traces(model)
    with pytest.raises(error, match=says):
        prune(model, 0.5, criterion="wanda", calibration=calibration)
    assert_same_state(model, before)
    assert traces(model) == left


@pytest.mark.parametrize("criterion", ["magnitude", "random", lambda weight: weight])
def test_batches_and_losses_for_nothing_are_refused(criterion: Any) -> None:
    with pytest.raises(ValueError, match="reads no batches; leave calibration out"):
        prune(mlp(4, 4), 0.5, criterion=criterion, calibration=[torch.ones(1, 4)])
    with pytest.raises(ValueError, match="takes no gradient of a loss; leave loss out"):
        prune(mlp(4, 4), 0.5, criterion=criterion, loss=lambda model, batch: model(batch).sum())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("sized", [True, False])
def test_a_long_calibration_draws_a_bar(monkeypatch: pytest.MonkeyPatch, sized: bool) -> None:
    """Also where nobody knows how many batches there are, and inside another bar."""
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "PATIENCE_S", -1.0)
    batches = [torch.ones(1, 4)] * 3
    with progress.Progress(1) as outer:
        outer.step("outer")
        prune(mlp(4, 4), 0.5, criterion="wanda", calibration=batches if sized else iter(batches))
    assert "outer" in sys.stderr.getvalue()


def test_a_model_that_was_copied_learns_the_same() -> None:
    model, x = network(), torch.randn(2, 3, 6, 6)
    twin: Callable[..., Any] = copy.deepcopy(model)
    assert all(torch.equal(a, norms(twin, [x])[key]) for key, a in norms(model, [x]).items())
