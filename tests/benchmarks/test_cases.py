from __future__ import annotations

import pytest
import torch

from benchmarks.cases import SHAPES, Case, Selection, cases, parse_nm, parse_shape
from benchmarks.subject import check, copies, make_mask
from benchmarks.targets import COLUMNS, TARGETS


def test_the_default_run_measures_every_cell_of_every_target() -> None:
    chosen = Selection()
    measured = {
        (c.rows, c.column, (c.out_features, c.in_features))
        for shape in chosen.shapes
        for rows in chosen.rows
        for c in cases(chosen, shape, rows)
    }
    for target in TARGETS:
        assert set(target.asked) == set(COLUMNS)
        for column in COLUMNS:
            assert {(target.rows, column, shape) for shape in target.shapes} <= measured


def test_the_largest_weights_are_cold_and_the_small_ones_are_not() -> None:
    cold = {shape for shape in SHAPES if Case(*shape, 1, "csr", 0.9).cold}
    assert cold == {(4096, 4096), (11008, 4096)}


def test_nm_sets_its_own_sparsity() -> None:
    case = Case(8, 16, 1, "1:4", 0.0)
    assert (case.sparsity, case.column) == (0.75, "1:4")
    assert Case(8, 16, 1, "csr", 0.9).column == "90%"


@pytest.mark.parametrize("pattern", ["2:", "0:4", "5:4", "bsr", "2:4:8", ""])
def test_an_unknown_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="N:M"):
        parse_nm(pattern)


@pytest.mark.parametrize("text", ["3072", "3072,768", "0x8", "-1x8", "8x"])
def test_an_unknown_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="OUTxIN"):
        parse_shape(text)


def test_groups_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="divisible by 4; shape 8x6"):
        Case(8, 6, 1, "2:4", 0.0)


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4:8"])
def test_nm_masks_keep_exactly_n_of_m(pattern: str) -> None:
    kept, group = parse_nm(pattern)
    mask = make_mask(Case(6, 16, 1, pattern, 0.0))
    assert mask.shape == (6, 16)
    assert torch.equal(mask.view(-1, group).sum(1), torch.full((6 * 16 // group,), kept))


def test_masks_repeat_and_have_about_the_sparsity_asked() -> None:
    case = Case(64, 256, 1, "csr", 0.9)
    mask = make_mask(case)
    assert torch.equal(mask, make_mask(case))
    # Five standard deviations of a binomial.
    allowed = 5 * (case.weights * 0.9 * 0.1) ** 0.5
    assert abs(int(mask.sum()) - case.weights * 0.1) < allowed


def test_cold_copies_exceed_64_mib_and_share_no_memory() -> None:
    values, index = torch.zeros(1 << 22), torch.zeros(1 << 22, dtype=torch.uint8)
    made = copies((values, index), cold=True)
    assert sum(t.nbytes for pair in made for t in pair) > 64 << 20
    assert len({t.data_ptr() for pair in made for t in pair}) == 2 * len(made)
    assert len(copies((values, index), cold=False)) == 1


def test_a_right_result_passes_the_check_and_a_wrong_or_missing_one_does_not() -> None:
    x, weight = torch.randn(5, 32), torch.randn(7, 32)
    y = x @ weight.T
    check(y, x, weight)
    for wrong in (y[-1, -1] + 0.01, torch.nan):
        broken = y.clone()
        broken[-1, -1] = wrong
        with pytest.raises(ValueError, match="is wrong"):
            check(broken, x, weight)
