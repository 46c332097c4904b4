"""Small networks of the shapes that people prune, each with its inputs, in eval mode."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.nets import Bottleneck, InvertedResidual

Net = tuple[nn.Module, tuple[Tensor, ...]]


def resnet() -> Net:
    stem = [nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)]
    blocks = [Bottleneck(32, 16, 1), Bottleneck(64, 16, 1), Bottleneck(64, 32, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    return nn.Sequential(*stem, *blocks, *head), (torch.randn(2, 3, 8, 8),)


def mobilenet() -> Net:
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(inplace=True)]
    blocks = [InvertedResidual(16, 16, 1, 4), InvertedResidual(16, 32, 2, 4)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return nn.Sequential(*stem, *blocks, *head), (torch.randn(2, 3, 8, 8),)


def resnext() -> Net:
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 1), nn.ReLU()]
    layers += [nn.Conv2d(32, 64, 3, padding=1, groups=16), nn.BatchNorm2d(64), nn.ReLU()]
    layers += [nn.Conv2d(64, 10, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), (torch.randn(2, 3, 6, 6),)


def vgg() -> Net:
    layers: list[nn.Module] = []
    for wide, out in ((3, 16), (16, 32)):
        layers += [nn.Conv2d(wide, out, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(32 * 4, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)]
    return nn.Sequential(*layers), (torch.randn(2, 3, 8, 8),)


class DenseBlock(nn.Module):
    def __init__(self, channels: int, growth: int, count: int) -> None:
        super().__init__()
        widths = range(channels, channels + growth * count, growth)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(n), nn.ReLU(), nn.Conv2d(n, growth, 3, padding=1))
            for n in widths
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return x


def densenet() -> Net:
    stem, head = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(64, 16, 1)
    layers = [stem, DenseBlock(16, 16, 3), nn.BatchNorm2d(64), nn.ReLU(), head]
    return nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 5)), (
        torch.randn(2, 3, 8, 8),
    )


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU())
        self.down = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.rise = nn.ConvTranspose2d(32, 16, 2, 2)
        self.up = nn.Sequential(nn.Conv2d(32, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.first(x)
        y = self.rise(self.down(skip))
        y = F.interpolate(F.max_pool2d(y, 2), scale_factor=2.0, mode="bilinear")
        z: Tensor = self.head(self.up(torch.cat((y, skip), 1)))
        return z


def unet() -> Net:
    return UNet(), (torch.randn(2, 3, 8, 8),)


class ViT(nn.Module):
    """Patches, a class token, positions, torch's own encoder layers."""

    def __init__(self, norm_first: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        self.places = nn.Parameter(torch.randn(1, 5, 32))
        layer = nn.TransformerEncoderLayer(
            32, 4, 64, activation="gelu", batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.places
        y: Tensor = self.head(self.encoder(x)[:, 0])
        return y


def vit() -> Net:
    return ViT(), (torch.randn(2, 3, 8, 8),)


class SelfAttention(nn.Module):
    """BERT's: three linear layers, heads by view, scores written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.all_heads = width
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dense = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        shape = (*x.size()[:-1], self.heads, self.head_dim)
        return x.view(shape).permute(0, 2, 1, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.head_dim)
        context = torch.matmul(F.softmax(scores + mask, dim=-1), v)
        context = context.permute(0, 2, 1, 3).contiguous()
        context = context.view(*context.size()[:-2], self.all_heads)
        y: Tensor = self.dense(context)
        return y


class Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 32), nn.Embedding(8, 32)
        self.attention, self.norm = SelfAttention(32, 4), nn.LayerNorm(32)
        self.fc1, self.fc2 = nn.Linear(32, 64), nn.Linear(64, 32)
        self.norm2, self.head = nn.LayerNorm(32), nn.Linear(32, 20)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.words(ids) + self.places(places)
        mask = (1.0 - (ids > 0).to(x.dtype))[:, None, None, :] * -1e4
        x = self.norm(x + self.attention(x, mask))
        x = self.norm2(x + self.fc2(F.gelu(self.fc1(x))))
        y: Tensor = self.head(x)
        return y


def bert() -> Net:
    return Bert(), (torch.randint(0, 20, (2, 6)),)


class LlamaAttention(nn.Module):
    """Grouped queries, rotary positions, keys and values repeated."""

    def __init__(self, width: int, heads: int, shared: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads, self.num_kv, self.head_dim = heads, shared, head_dim
        self.repeats = heads // shared
        self.q_proj = nn.Linear(width, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(width, shared * head_dim, bias=False)
        self.v_proj = nn.Linear(width, shared * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, -1, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(b, t, -1, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.num_kv, self.head_dim).transpose(1, 2)
        q, k = (y * cos + rotate_half(y) * sin for y in (q, k))
        k, v = repeat_kv(k, self.repeats), repeat_kv(v, self.repeats)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o_proj(y.transpose(1, 2).reshape(b, t, -1))
        return out


def rotate_half(x: Tensor) -> Tensor:
    first, second = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-second, first), dim=-1)


def repeat_kv(x: Tensor, repeats: int) -> Tensor:
    b, heads, t, dim = x.shape
    if repeats == 1:
        return x
    return x[:, :, None].expand(b, heads, repeats, t, dim).reshape(b, heads * repeats, t, dim)


class LlamaBlock(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width)
        self.attention = LlamaAttention(width, 8, 4, 8)
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), cos, sin)
        y = self.norm2(x)
        y = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return y


class Llama(nn.Module):
    """Two blocks, a final norm, a head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 32)
        self.blocks = nn.ModuleList(LlamaBlock(32, 48) for _ in range(2))
        self.norm = nn.RMSNorm(32, eps=1e-6)
        self.head = nn.Linear(32, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        angles = torch.arange(ids.shape[1])[:, None] / 10.0 ** torch.arange(4)
        angles = torch.cat((angles, angles), -1).to(x.dtype)
        for block in self.blocks:
            x = block(x, angles.cos(), angles.sin())
        y: Tensor = self.head(self.norm(x))
        return y


def llama() -> Net:
    return Llama(), (torch.randint(0, 20, (2, 6)),)


NETS: dict[str, Callable[[], Net]] = {
    each.__name__: each
    for each in (resnet, mobilenet, resnext, vgg, densenet, unet, vit, bert, llama)
}


def made(name: str) -> Net:
    """Build a net and give its norms statistics, scales and shifts that are not the default."""
    model, inputs = NETS[name]()
    norms = nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm
    with torch.no_grad():
        for module in (m for m in model.modules() if isinstance(m, norms)):
            for word, tensor in (*module.named_parameters(), *module.named_buffers()):
                low = 0.5 if word in ("weight", "running_var") else -0.5
                if tensor.is_floating_point():
                    tensor.uniform_(low, low + 1)
    return model.eval(), inputs
