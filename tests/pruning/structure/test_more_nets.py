"""More ways to write a network, each with what of it may go, and checked like the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from secateur.pruning import structure
from secateur.pruning.structure import shrink
from tests.pruning.structure.judge import assert_equal_to_masked


def shrunk(model: nn.Module, *inputs: Tensor) -> nn.Module:
    small = shrink(model.eval(), example_inputs=inputs, sparsity=0.5)
    assert_equal_to_masked(small, model, inputs)
    return small


class PackedAttention(nn.Module):
    """Queries, keys and values from one layer, told apart by a dimension of 3; a norm for heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.scale = self.head_dim**-0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.q_norm = nn.LayerNorm(self.head_dim)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        packed = self.qkv(x).reshape(n, t, 3, self.num_heads, self.head_dim)
        q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        shares = ((self.q_norm(q) * self.scale) @ k.transpose(-2, -1)).softmax(-1)
        y: Tensor = self.proj((shares @ v).transpose(1, 2).reshape(n, t, -1))
        return y


def test_packed_attention_loses_heads() -> None:
    small = shrunk(PackedAttention(32, 4), torch.randn(2, 5, 32))
    assert small.num_heads == 2
    assert small.qkv.weight.shape == (48, 32)


class Shuffled(nn.Module):
    """ShuffleNet's unit: half goes through a branch, then the halves are dealt like cards."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 1)
        self.branch = nn.Sequential(
            nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        )
        self.head = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).chunk(2, dim=1)
        y = torch.cat((a, self.branch(b)), 1)
        n, c, h, w = y.size()
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        z: Tensor = self.head(y).mean((2, 3))
        return z


def test_a_shuffle_of_channels() -> None:
    small = shrunk(Shuffled(), torch.randn(2, 3, 4, 4))
    assert small.stem.out_channels == 16
    assert small.branch[2].groups == 8


class Experts(nn.Module):
    """Weights of several experts in one parameter, mixed by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (
            nn.Parameter(torch.randn(shape)) for shape in ((3, 8, 32), (3, 32, 8))
        )
        self.router = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(torch.einsum("bi,eio->beo", x, self.up))
        y = torch.einsum("beo,eoj->bej", hidden, self.down)
        return (y * self.router(x).softmax(-1)[..., None]).sum(1)


def test_experts_in_one_parameter() -> None:
    assert shrunk(Experts(), torch.randn(4, 8)).up.shape == (3, 8, 16)


def test_a_decoder_layer_loses_heads_of_both_attentions() -> None:
    layer = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
    small = shrunk(layer, torch.randn(2, 3, 32), torch.randn(2, 4, 32))
    assert small.self_attn.num_heads == small.multihead_attn.num_heads == 2
    assert small.linear1.out_features == 32


def test_attention_with_masks_and_separate_widths() -> None:
    attention = nn.MultiheadAttention(32, 4, kdim=12, vdim=20)

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            padding = torch.zeros(2, 5, dtype=torch.bool, device=q.device)
            padding[1, 3:] = True
            rows = torch.ones(4, 5, dtype=torch.bool).triu(2)
            y: Tensor = self.attention(q, k, v, key_padding_mask=padding, attn_mask=rows)[0]
            return y

    inputs = (torch.randn(4, 2, 32), torch.randn(5, 2, 12), torch.randn(5, 2, 20))
    model = Masked().eval()
    small = shrunk(model, *inputs)
    assert small.attention.num_heads == 2
    assert small.attention.k_proj_weight.shape == (16, 12)
    # The reference above is HeadAttention's own arithmetic no less than torch's: with no head
    # removed it must be torch's.
    whole = shrink(model, example_inputs=inputs, sparsity=0.0)
    assert type(whole.attention) is nn.MultiheadAttention


def test_sequences_volumes_and_pixels() -> None:
    line = nn.Sequential(
        nn.Conv1d(4, 32, 3), nn.BatchNorm1d(32), nn.GELU(), nn.MaxPool1d(2), nn.Conv1d(32, 2, 1)
    )
    assert shrunk(line, torch.randn(2, 4, 12))[0].out_channels == 16
    volume = nn.Sequential(nn.Conv3d(2, 16, 1), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(16, 2))
    assert shrunk(volume, torch.randn(1, 2, 2, 2, 2))[3].in_features == 8
    pixels = nn.Sequential(
        nn.Conv2d(3, 64, 1), nn.PReLU(64), nn.PixelShuffle(2), nn.Conv2d(16, 3, 1)
    )
    small = shrunk(pixels, torch.randn(1, 3, 4, 4))
    assert (small[0].out_channels, small[3].in_channels) == (32, 8)


def test_recurrent_layers_stay_and_say_so() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.cell, self.out = nn.Linear(8, 16), nn.LSTM(16, 16), nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.out(self.cell(self.into(x))[0])
            return y

    small = shrunk(Recurrent(), torch.randn(3, 2, 8))
    reasons = {s.name: s.why for s in structure.report(small).stays}
    assert "not known" in reasons["cell.weight_ih_l0"]
    assert small.into.out_features == 16
