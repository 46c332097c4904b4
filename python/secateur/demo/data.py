"""Reuters R8 as token ids and labels, and batches of them. The tokenizer is the model's own."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

MAX_TOKENS = 64
HEADER_LINES = 3
# The longest documents are beyond csv's own limit of 131,072 characters.
FIELD_LIMIT = 1 << 24


@dataclass(frozen=True)
class Batch:
    """Token ids, what is a token and what is padding, and the classes."""

    ids: Tensor  # int64 [documents, tokens]
    mask: Tensor  # bool [documents, tokens], True where there is a token
    labels: Tensor  # int64 [documents]


@dataclass(frozen=True)
class Corpus:
    """Documents as token ids, each of its own length, and their class numbers."""

    ids: list[list[int]]
    labels: list[int]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Corpus:
        """Return the documents `rows`, in that order."""
        return Corpus([self.ids[r] for r in rows], [self.labels[r] for r in rows], self.classes)

    def batch(self, rows: Sequence[int]) -> Batch:
        """Return documents `rows`, padded to the longest of them."""
        length = max(len(self.ids[r]) for r in rows)
        ids = torch.zeros(len(rows), length, dtype=torch.int64)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for place, row in enumerate(rows):
            count = len(self.ids[row])
            ids[place, :count] = torch.tensor(self.ids[row])
            mask[place, :count] = True
        return Batch(ids, mask, torch.tensor([self.labels[r] for r in rows]))

    def by_length(self, size: int) -> Iterator[Batch]:
        """Yield every document once, `size` at a time, shortest first, so little is padding."""
        order = sorted(range(len(self)), key=lambda row: len(self.ids[row]))
        for start in range(0, len(order), size):
            yield self.batch(order[start : start + size])

    def shuffled(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield batches of `size` documents for ever, each epoch in a new order."""
        while True:
            order = torch.randperm(len(self), generator=generator).tolist()
            for start in range(0, len(order) - size + 1, size):
                yield self.batch(order[start : start + size])

    def full(self, size: int) -> Batch:
        """Return the first `size` documents without padding, for timing: all rows are real."""
        longest = max(len(ids) for ids in self.ids)
        return self.batch([r for r in range(len(self)) if len(self.ids[r]) == longest][:size])


def read_tab(path: Path) -> list[tuple[str, str]]:
    """Return (class, text) of each document of an Orange ``.tab`` file.

    Raises:
        ValueError: if the first header line does not name the columns Category and Text.
    """
    csv.field_size_limit(FIELD_LIMIT)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    if not rows or rows[0][:2] != ["Category", "Text"]:
        got = rows[0][:2] if rows else "an empty file"
        raise ValueError(f"{path}: wanted columns Category and Text, got {got}")
    return [(row[0], row[1]) for row in rows[HEADER_LINES:] if row]


def read_corpus(path: Path, tokenizer: Path, max_tokens: int = MAX_TOKENS) -> Corpus:
    """Return the documents of `path`, each cut to `max_tokens` with its two marks included."""
    from tokenizers import Tokenizer

    documents = read_tab(path)
    classes = tuple(sorted({label for label, _ in documents}))
    encoder = Tokenizer.from_file(str(tokenizer))
    encoder.no_padding()
    encoder.enable_truncation(max_tokens)
    encoded = encoder.encode_batch([text for _, text in documents])
    return Corpus(
        [list(item.ids) for item in encoded],
        [classes.index(label) for label, _ in documents],
        classes,
    )
