"""Which convolutions are measured, and that they are what a call of the layer does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks import conv_subject, report
from benchmarks.bounds import Bound
from benchmarks.cases import SPARSITIES
from benchmarks.conv_cases import (
    COLUMNS,
    PATTERNS,
    SHAPES,
    TARGETS,
    ConvCase,
    Shape,
    cases,
    with_channels,
)
from benchmarks.result import Result
from benchmarks.subject import Subject
from benchmarks.timing import Samples
from secateur.nn import packing
from tests.support import data


def result(case: ConvCase, dense_s: float, sparse_s: float) -> Result:
    made = Subject(lambda: torch.ones(1), 1000, 6000, 5000, [], lambda rows: "kernel")
    dense = {"torch": Samples((2 * dense_s,) * 3), "torch_nhwc": Samples((dense_s,) * 3)}
    sparse = Samples((sparse_s,) * 3)
    return Result(sparse, dense, made.work(case), 6000, "kernel", bound=Bound(sparse_s, "L2"))


def test_the_default_run_measures_every_cell_of_every_target() -> None:
    measured = {(c.shape, c.column) for s in SHAPES for c in cases(s, 1, SPARSITIES, PATTERNS)}
    for target in TARGETS:
        assert set(target.asked) == set(COLUMNS)
        assert {(shape, column) for shape in target.shapes for column in COLUMNS} <= measured


def test_every_format_that_convolves_is_measured() -> None:
    formats = {"csr": "csr", "2:4": "nm", "rows": "rows", "blocks": "bsr"}
    here = set(packing.convolved()) - packing.ON_GPU_ONLY
    assert {formats[pattern] for pattern in PATTERNS} == here


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [Shape(8, 16, 9, 3, 2), Shape(8, 16, 6)], ids=str)
def test_a_case_counts_what_its_layer_does(shape: Shape, pattern: str) -> None:
    case = ConvCase(shape, 2, pattern, 0.5)
    conv, x = conv_subject.make_conv(case), conv_subject.images_of(case)
    made = conv_subject.make(case, conv)
    y = made.binders[0](x)()
    assert isinstance(y, torch.Tensor)
    assert (case.elements, case.rows) == (x.numel() + y.numel(), y.numel() // shape.outputs)
    assert case.weights == conv.weight.numel()
    assert made.nonzeros == int(made.pruned().count_nonzero())
    assert made.work(case).flops == 2 * made.nonzeros * case.rows
    assert conv_subject.right(conv, made.pruned(), x, y)
    y[0, 0, 0, 0] += 0.01
    assert not conv_subject.right(conv, made.pruned(), x, y)


def test_a_right_convolution_has_the_geometry_and_the_bias() -> None:
    gen = data.generator()
    conv = nn.Conv2d(4, 6, (3, 2), (2, 1), (0, 1), (1, 2), groups=2).requires_grad_(False)
    x = data.reals((2, 4, 7, 8), gen)
    assert conv_subject.right(conv, conv.weight, x, conv(x))
    assert conv.bias is not None
    assert not conv_subject.right(conv, conv.weight, x, conv(x) - conv.bias[:, None, None])


def test_rows_are_whole_channels_and_outputs() -> None:
    mask = conv_subject.make_mask(ConvCase(Shape(16, 12, 6, 3), 1, "rows", 0.75))
    assert mask.flatten(2).sum(2).unique().tolist() == [0, 9]
    assert torch.equal(
        mask[:, :, 0, 0], mask.any(3).any(2).any(1)[:, None] & mask.any(3).any(2).any(0)
    )
    assert (int(mask[:, :, 0, 0].any(1).sum()), int(mask[:, :, 0, 0].any(0).sum())) == (6, 8)


def test_targets_compare_geometric_means_of_one_image() -> None:
    target = TARGETS[2]
    some = [result(ConvCase(shape, 1, "csr", 0.9), 0.04, 0.01) for shape in target.shapes]
    many = [result(ConvCase(shape, 4, "csr", 0.9), 0.04, 0.04) for shape in target.shapes]
    assert report.target_cell(target, "90%", some + many) == "5.2/4.00 miss"
    assert report.target_cell(target, "90%", some[:1]) == "5.2/4.00* miss"
    assert not any(line.startswith("*") for line in report.target_lines(some, TARGETS, COLUMNS))
    assert report.target_lines(some[:1], TARGETS, COLUMNS)[-1].startswith("* not all")
    whole = [result(ConvCase(shape, 1, "csr", 0.9), 0.04, 0.01) for shape in TARGETS[0].shapes]
    assert not any(line.startswith("*") for line in report.target_lines(whole, TARGETS, COLUMNS))
    nm = [result(ConvCase(shape, 1, "2:4", 0), 0.04, 0.02) for shape in target.shapes]
    assert report.target_cell(target, "2:4", nm) == "gate sparse/2.00"
    whole = [result(ConvCase(shape, 1, "rows", 0.5), 0.04, 0.02) for shape in target.shapes]
    assert report.target_cell(target, "50%", whole) == ""


def test_shapes_are_chosen_by_their_channels() -> None:
    assert with_channels([(64, 64)]) == [Shape(64, 64, 56, 3)]
    with pytest.raises(ValueError, match="got 3x5, 7x7"):
        with_channels([(3, 5), (7, 7)])
