"""Permuting channels inside models: what they compute stays, on integers to the last bit."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import secateur as sc
from secateur.nn.permuted_input import PermutedInput
from secateur.planning.permute import _permute, permute_
from tests.support.data import generator, integers, reals


def whole(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model small whole numbers, and normalisations that are exact."""
    gen = generator(seed)
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            parameter.data = torch.randint(-2, 3, parameter.shape, generator=gen).float()
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = integers(module.weight.shape, gen)
            module.running_var, module.eps = torch.ones_like(module.weight), 2.0**-100
    return model.eval()


class Gated(nn.Module):
    def __init__(self, wide: int = 24) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(8, wide), nn.Linear(8, wide)
        self.down = nn.Linear(wide, 8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.relu(self.gate(x)) * self.up(x))
        return y


class Attention(nn.Module):
    """Grouped: 4 heads of queries, `kv` of keys and values."""

    def __init__(self, kv: int, eager: bool) -> None:
        super().__init__()
        self.q, self.o = nn.Linear(32, 32), nn.Linear(32, 32)
        self.k, self.v = nn.Linear(32, 8 * kv), nn.Linear(32, 8 * kv)
        self.kv, self.eager = kv, eager

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, -1, 8).transpose(1, 2) for f in (self.q, self.k, self.v))
        k = k[:, :, None].expand(b, self.kv, 4 // self.kv, t, 8).reshape(b, 4, t, 8)
        v = v.repeat_interleave(4 // self.kv, 1)
        if self.eager:
            y = (q @ k.transpose(2, 3)).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.o(y.transpose(1, 2).reshape(b, t, 32))
        return out


class Stream(nn.Module):
    """Embedding, positions, residual layers, a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 16)
        self.positions = nn.Parameter(torch.zeros(5, 16))
        self.up, self.down = nn.Linear(16, 12), nn.Linear(12, 16)
        self.head = nn.Linear(16, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.positions
        y: Tensor = self.head(x + self.down(self.up(x).relu()))
        return y


def convs(pool: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 16, 3, bias=False),
        pool,
        nn.Flatten(),
        nn.Linear(16 if isinstance(pool, nn.AdaptiveAvgPool2d) else 64, 4),
    )


def attention(kv: int, eager: bool) -> nn.Module:
    model = whole(Attention(kv, eager))
    model.q.weight.data.zero_()  # type: ignore[union-attr,operator]
    model.q.bias.data.zero_()  # type: ignore[union-attr,operator]
    return model  # every probability is a quarter: exact


TOKENS = torch.tensor([[1, 4, 2, 9, 0], [3, 3, 5, 8, 7]])
CASES: dict[str, tuple[Callable[[], nn.Module], Tensor, dict[str, set[str]]]] = {
    "gated mlp": (
        lambda: whole(Gated()),
        integers((3, 8), generator(1)),
        {"down.weight": {"gate.weight", "gate.bias", "up.weight", "up.bias"}},
    ),
    "attention": (
        lambda: attention(4, False),
        integers((2, 4, 32), generator(1)),
        {"o.weight": {"v.weight", "v.bias"}},
    ),
    "grouped attention": (
        lambda: attention(2, False),
        integers((2, 4, 32), generator(1)),
        {"o.weight": {"v.weight", "v.bias"}},
    ),
    "eager attention": (
        lambda: attention(2, True),
        integers((2, 4, 32), generator(1)),
        {"o.weight": {"v.weight", "v.bias"}},
    ),
    "residual stream": (
        lambda: whole(Stream()),
        TOKENS,
        {
            "down.weight": {"up.weight", "up.bias"},
            "up.weight": {"positions", "down.weight", "down.bias", "embed.weight"},
        },
    ),
    "convolutions": (
        lambda: whole(convs(nn.AdaptiveAvgPool2d(1))),
        integers((2, 4, 8, 8), generator(1)),
        {
            "6.weight": {
                *("0.weight", "0.bias", "3.weight", "3.bias"),
                *(f"{i}.{n}" for i in "14" for n in ("weight", "bias", "running_mean")),
                *("1.running_var", "4.running_var"),
            },
            "9.weight": {"6.weight"},
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_model_computes_what_it_did_and_keeps_more(case: str) -> None:
    make, x, folded = CASES[case]
    model = make()
    before = model(x)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = permute_(model, x, generator=generator())
    assert torch.equal(model(x), before)
    for name, into in folded.items():
        line = report[name]
        assert line.status == "folded", line
        same = {"embed.weight", "head.weight"}  # one tensor by two names
        assert {("tied" if n in same else n) for n in line.into} == {
            ("tied" if n in same else n) for n in into
        }
    assert sum(r.after for r in report.layers) > sum(r.before for r in report.layers)
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, state[n])}
    assert changed, "nothing was permuted"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.flatten().sort().values, state[name].flatten().sort().values)


def test_flattened_pixels_follow_their_channel() -> None:
    model, x = whole(convs(nn.MaxPool2d(2))), integers((2, 4, 8, 8), generator(1))
    before = model(x)
    report = permute_(model, x, targets=["6"], generator=generator())
    assert torch.equal(model(x), before)
    # The linear layer's groups are pixels of one channel: nothing can move them.
    full = permute_(model, x, generator=generator())
    assert full["9.weight"].status != "folded"
    assert [line.name for line in report.layers] == ["6.weight"]


def test_a_linear_layer_may_read_the_pixels_of_permuted_channels() -> None:
    x = integers((2, 4, 8, 8), generator(1))
    both = whole(Both(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(288, 4)))
    before = both(x)
    report = permute_(both, x, generator=generator())
    assert torch.equal(both(x), before)
    assert set(report["b.weight"].into) == {"a.weight", "a.bias", "c.weight"}


class Both(nn.Module):
    def __init__(self, a: nn.Module, b: nn.Module, c: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.c = a, b, c

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu()
        y: Tensor = self.c(h.flatten(1)) + self.b(h).mean((2, 3)).sum(1, keepdim=True)
        return y


def test_sums_in_another_order_stay_within_their_error_bound() -> None:
    first, second = nn.Linear(64, 128), nn.Linear(128, 32)
    model, x = nn.Sequential(first, nn.GELU(), second), reals((50, 64), generator())
    before = model(x)
    # Higham, eq. 3.5, for either order: of the hidden sums, through GELU (slope and own error as
    # the kernels' judges have it), and of the sums over them.
    eps = torch.finfo(torch.float32).eps
    w1, b1, w2, b2 = (p.detach().double() for p in model.parameters())
    pre = x.double() @ w1.T + b1
    hidden_error = 66 * eps * (x.double().abs() @ w1.abs().T + b1.abs()) * 1.129
    hidden = F.gelu(pre).abs() + hidden_error + 4 * eps * pre.abs()
    error = 130 * eps * (hidden @ w2.abs().T + b2.abs())
    error += (hidden_error + 4 * eps * pre.abs()) @ w2.abs().T
    assert permute_(model, x, generator=generator())["2.weight"].status == "folded"
    assert bool(((model(x) - before).abs() <= 2 * error).all())


def test_pruning_then_keeps_what_the_report_says() -> None:
    model, x = Gated(), reals((3, 8), generator())
    report = permute_(model, x, generator=generator())
    masks = sc.prune(model, pattern="2:4")
    for line in report.layers:
        if line.status == "folded":
            total = float(model.get_parameter(line.name).detach().double().abs().sum())
            assert total == pytest.approx(line.after, rel=1e-12)
    assert sc.verify(model, masks).ok


class Shared(nn.Module):
    """Layers around one that cannot be permuted, by what `between` does."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.between = nn.Linear(8, 8), nn.Linear(8, 8), between

    def forward(self, x: Tensor) -> Any:
        h = self.a(x)
        return self.b(self.between(h))


@pytest.mark.parametrize(
    ("between", "says"),
    [
        (lambda h: h.cumsum(-1), "cumsum"),
        (lambda h: h.roll(1, -1), "roll"),
        (lambda h: h.flip(-1), "flip"),
        (lambda h: torch.cat([h[..., :4], h[..., 4:]], -1), "cat"),
        (lambda h: h + torch.arange(8.0), "arange"),
        (lambda h: h.view(-1, 2, 4).cumsum(-1).view(-1, 8), "cumsum"),
        (lambda h: h.mT @ h, "two ways"),
    ],
)
def test_what_mixes_channels_is_left_and_the_reason_given(
    between: Callable[[Tensor], Tensor], says: str
) -> None:
    model, x = Shared(between).double(), reals((6, 8), generator(), torch.float64)
    before = model(x)
    report = permute_(model, x, generator=generator())
    assert says in report["b.weight"].reason
    assert (model(x) - before).abs().max() <= 1e-12 * before.abs().max() + 1e-12
    assert report["a.weight"].reason == "its channels are an input of the model"


def test_weights_that_others_read_and_layers_in_groups_stay() -> None:
    model = Shared(torch.relu)
    model.b.weight = model.a.weight  # rows and columns of one matrix
    report = permute_(model, reals((3, 8), generator()))
    assert {line.status for line in report.layers} <= {"left"}
    assert report["a.weight"].reason
    grouped = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=2))
    line = permute_(grouped, reals((1, 3, 4, 4), generator()))["1.weight"]
    assert (line.status, line.gather_ms) == ("left", None)
    assert "in groups" in line.reason


def test_an_output_keeps_its_order() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.a(x)
            return h, self.b(h)

    report = permute_(Two(), reals((3, 8), generator()))
    assert report["b.weight"].reason == "its channels are an output of the model"


@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 8)])
def test_a_gather_is_offered_with_its_cost_and_inserted_on_demand(shape: tuple[int, ...]) -> None:
    model, x = whole(Gated()), integers(shape, generator(1))
    before, parts = model(x), list(model.modules())
    line = permute_(model, x, generator=generator())["up.weight"]
    assert (line.status, list(model.modules())) == ("offered", parts)
    assert line.gather_ms is not None and line.gather_ms > 0
    assert line.after > line.before
    report = permute_(model, x, gather=True, generator=generator())
    assert report["up.weight"].status == "gathered"
    assert isinstance(model.up, PermutedInput)
    assert torch.equal(model(x), before)
    sc.prune(model, pattern="2:4")
    kept = float(model.up.layer.weight.detach().abs().sum())
    assert kept == report["up.weight"].after
    pruned = model(x)
    fast = sc.convert(model, x, gate="always")
    assert isinstance(fast.up.layer, sc.SparseLinear)
    assert torch.equal(fast(x), pruned)


def test_a_convolution_behind_a_gather() -> None:
    model = whole(nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU()))
    x = integers((2, 8, 6, 6), generator(1))
    before = model(x)
    report = permute_(model, x, gather=True, generator=generator())
    assert report["0.weight"].status == "gathered"
    assert torch.equal(model(x), before)
    assert torch.equal(model(x[0]), before[0])


@pytest.mark.parametrize("gather", [False, True])
def test_a_failure_leaves_the_model_as_it_was(
    gather: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = Gated(), reals((3, 8), generator())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parts = list(model.named_modules())
    outputs = iter([[torch.ones(3)], [torch.ones(3) * 1.1]])
    monkeypatch.setattr(_permute, "_outputs", lambda *_: next(outputs))
    with pytest.raises(ValueError, match="computes something else"):
        permute_(model, x, gather=gather)
    assert list(model.named_modules()) == parts
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())


def test_parameters_stay_what_they_are() -> None:
    model, x = Gated(), reals((3, 8), generator())
    before = {name: (id(p), p.requires_grad) for name, p in model.named_parameters()}
    model.train()
    permute_(model, x)
    assert model.training
    assert {n: (id(p), p.requires_grad) for n, p in model.named_parameters()} == before


def test_a_generator_decides() -> None:
    x, states = reals((3, 8), generator()), []
    for _ in range(2):
        torch.manual_seed(7)
        model = Gated()
        permute_(model, x, generator=generator(3))
        states.append(model.state_dict())
    assert all(torch.equal(t, states[1][n]) for n, t in states[0].items())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pattern": "unstructured"}, "wanted N:M"),
        ({"pattern": "4:4"}, "N below M"),
        ({"criterion": "random"}, "needs seed"),
        ({"targets": ["nothing"]}, "nothing"),
    ],
)
def test_errors_say_what_was_wanted(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        permute_(Gated(), reals((3, 8), generator()), **options)


def test_the_report_prints_and_is_asked_by_name() -> None:
    report = permute_(Gated(10), reals((3, 8), generator()), generator=generator())
    assert report["down.weight"].reason == "its channels are no multiple of 4"
    text = str(report)
    assert all(word in text for word in ("efficacy", "down.weight", "offered", "gather ms"))
    with pytest.raises(KeyError, match="these were"):
        report["down"]


def test_the_example_in_the_docstring_runs() -> None:
    result = doctest.testmod(_permute)
    assert result.attempted
    assert not result.failed


def test_progress_counts_layers() -> None:
    seen: list[tuple[int, int]] = []
    permute_(
        Gated(),
        reals((3, 8), generator()),
        progress=lambda done, all_, _: seen.append((done, all_)),
    )
    assert {total for _, total in seen} == {3}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == 2
