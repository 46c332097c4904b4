"""MiniLM-L6 with a classifier on top, in plain torch, and how its published weights get in."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, LAYERS, INNER, VOCABULARY, POSITIONS = 384, 12, 6, 1536, 30522, 512
# Embeddings have length 1, so that logits of a fresh head would be tiny.
EMBEDDING_SCALE = 10.0

# This model's name -> the published one, inside a layer and outside.
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "norm2": "output.LayerNorm",
}
EMBEDDING_NAMES = {
    "embedding.words": "embeddings.word_embeddings",
    "embedding.places": "embeddings.position_embeddings",
    "embedding.kinds": "embeddings.token_type_embeddings",
    "embedding.norm": "embeddings.LayerNorm",
}
# Published with BERT, and never used by the sentence embedding.
UNUSED = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}


class Embedding(nn.Module):
    """Words, places and the one sentence kind, added and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(POSITIONS, WIDTH)
        self.kinds = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, ids: Tensor) -> Tensor:
        """Return [batch, tokens, width] for ids [batch, tokens]."""
        summed = self.words(ids) + self.places.weight[: ids.shape[1]] + self.kinds.weight[0]
        return self.norm(summed)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Softmax attention of queries, keys and values, each [batch, tokens, width]."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Return [batch, tokens, width]; mask [batch, 1, tokens, tokens], True at tokens."""
        batch, tokens, width = q.shape
        q, k, v = (x.view(batch, tokens, HEADS, -1).transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.transpose(1, 2).reshape(batch, tokens, width)


class Layer(nn.Module):
    """One encoder layer, normalised after each residual as in BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-12) for _ in range(2))
        self.attention, self.gelu = Attention(), nn.GELU()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [batch, tokens, width] for x of the same shape."""
        x = self.norm1(x + self.o(self.attention(self.q(x), self.k(x), self.v(x), mask)))
        return self.norm2(x + self.fc2(self.gelu(self.fc1(x))))  # type: ignore[no-any-return]


class Pooling(nn.Module):
    """The mean over tokens, of length 1."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [batch, width] for x [batch, tokens, width] and mask [batch, tokens]."""
        weights = mask.to(x.dtype).unsqueeze(-1)
        return F.normalize((x * weights).sum(1) / weights.sum(1), dim=-1)


class Classifier(nn.Module):
    """MiniLM-L6's sentence embedding and one linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embedding = Embedding()
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.pooling = Pooling()
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return logits [batch, classes] for ids and mask, both [batch, tokens]."""
        x = self.embedding(ids)
        # One row for each query, though all are alike: ONNX Runtime's attention does not broadcast.
        keys = mask[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
        for layer in self.layers:
            x = layer(x, keys)
        return self.head(EMBEDDING_SCALE * self.pooling(x, mask))  # type: ignore[no-any-return]


def published_name(name: str) -> str:
    """Return the published name of this model's parameter `name`."""
    module, _, leaf = name.rpartition(".")
    if module.startswith("layers."):
        _, number, part = module.split(".")
        return f"encoder.layer.{number}.{LAYER_NAMES[part]}.{leaf}"
    return f"{EMBEDDING_NAMES[module]}.{leaf}"


def load_published(model: Classifier, weights: Path) -> None:
    """Fill all of `model` but its head from the published file.

    Raises:
        ValueError: if the file lacks a tensor, or holds one that this model has no place for.
    """
    from safetensors.torch import load_file

    published = load_file(str(weights))
    names = {n: published_name(n) for n in model.state_dict() if not n.startswith("head.")}
    absent = set(names.values()) - set(published)
    strange = set(published) - set(names.values()) - UNUSED
    if absent or strange:
        raise ValueError(f"{weights}: absent {sorted(absent)}, without a place {sorted(strange)}")
    filled: dict[str, torch.Tensor] = {name: published[source] for name, source in names.items()}
    model.load_state_dict(filled | {f"head.{n}": p for n, p in model.head.state_dict().items()})
