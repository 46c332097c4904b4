"""docs/gpu.md has the model's own numbers, and those that its prose repeats."""

from __future__ import annotations

import re

from benchmarks.gpu import page, stages
from secateur.backends import cuda, registry, roofline
from secateur.backends.cuda import _library, int8, lanes, semi_frag, semi_frag_conv2d
from secateur.backends.roofline import Work
from secateur.formats.semi_frag import SEMI_FRAG


def test_every_table_is_as_the_model_has_it() -> None:
    text = page.PAGE.read_text()
    assert page.written(text) == text, "run python -m benchmarks.gpu.page"


def test_every_constant_has_its_ground() -> None:
    lines = page.shares().splitlines()
    bare = [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line[0] != " " and not after.startswith("    ")
    ]
    assert not bare, f"constants of the model without a word on why: {bare}"


def test_the_prose_repeats_the_codes_numbers() -> None:
    text = " ".join(page.PAGE.read_text().split())
    assert f"at least {registry.THRESHOLD} times as long" in text
    assert f"Below {registry.THRESHOLD:.2f} the layer runs dense" in text
    assert f"decode to {semi_frag.MOST_DECODED} rows" in text
    assert set(re.findall(r"\| to (\d+) rows", text)) == {str(lanes.MOST_ROWS)}
    assert f"compute capability {_library.LEAST / 10} is the least" in text
    assert stages.WHOLE_S == 9 * 60
    assert "takes nine minutes" in text
    work = Work(1, 4096, 4096, 0.5)
    ideal = 16 / (8 * roofline.semi_bytes(work) / work.weights)
    assert f"at most {ideal:.2f} times" in text
    assert cuda.why_not.__name__ in text


def test_the_prose_on_int8_repeats_the_codes_numbers() -> None:
    text = " ".join(page.PAGE.read_text().split())
    work = roofline.int8_work(1, *page.LARGE)
    bits = 8 * roofline.semi_bytes(work) / work.weights
    assert f"in {bits:.0f} bits for each position instead of 8" in text
    assert f"at most {8 / bits:.2f} times the speed" in text
    for function in (int8.product, int8.quantize_rows):
        assert function.__name__ in text


def test_the_prose_on_convolutions_repeats_the_codes_numbers() -> None:
    text = " ".join(page.PAGE.read_text().split())
    taps = semi_frag_conv2d.MOST_TAPS
    assert f"kernels of at most {taps} by {taps}" in text
    assert f"take {semi_frag_conv2d.CHUNK} channels in each group or a multiple of that" in text
    assert f"a multiple of {SEMI_FRAG.row_tile} outputs" in text
    assert f"and {page.BATCH} images" in text
    shown = {line.split()[0]: line.split()[-4:] for line in page.convolutions().splitlines()}
    for name in ("H100", "H200", "B200"):
        assert all(float(ratio) < registry.THRESHOLD for ratio in shown[name])


def test_the_model_splits_sums_as_the_kernels_do() -> None:
    for op, split in (("nm_conv2d", roofline.CONV_SPLIT), ("nm_linear", roofline.SEMI_SPLIT)):
        source = (page.PAGE.parents[1] / "csrc" / "cuda" / op / "product.cuh").read_text()
        found = re.search(
            r"kBlocksWanted = (\d+), kStepsOfPart = (\d+), kMostParts = (\d+);", source
        )
        assert found
        assert tuple(map(int, found.groups())) == split
