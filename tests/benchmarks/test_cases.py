from __future__ import annotations

import pytest
import torch

from benchmarks.cases import SHAPES, Case, Selection, cases, parse_nm, parse_shape, parse_values
from benchmarks.subject import (
    NoKernel,
    binder,
    check,
    check_kernel,
    copies,
    make_mask,
    narrowed,
)
from benchmarks.targets import COLUMNS, TARGETS


def test_the_default_run_measures_every_cell_of_every_target() -> None:
    chosen = Selection()
    measured = {
        (c.rows, c.column, (c.out_features, c.in_features), c.values)
        for shape in chosen.shapes
        for rows in chosen.rows
        for c in cases(chosen, shape, rows)
    }
    for target in TARGETS:
        assert set(target.asked) == set(COLUMNS)
        for column in COLUMNS:
            cells = {(target.rows, column, shape, target.values) for shape in target.shapes}
            assert cells <= measured


def test_narrow_values_are_measured_where_bytes_bind_or_where_they_are_asked_for() -> None:
    def kinds(chosen: Selection, shape: tuple[int, int], rows: int) -> set[str]:
        return {case.values for case in cases(chosen, shape, rows)}

    assert kinds(Selection(), (4096, 4096), 1) == {"fp32", "bf16", "int8"}
    assert kinds(Selection(), (4096, 4096), 256) == {"fp32"}
    assert kinds(Selection(), (768, 768), 1) == {"fp32"}
    assert kinds(Selection(values=("fp16",)), (768, 768), 256) == {"fp16"}
    assert Case(8, 16, 1, "csr", 0.5, "bf16").label == "8x16 50% x1 bf16"
    with pytest.raises(ValueError, match="fp32, bf16, fp16, int8; got 'fp8'"):
        parse_values("fp8")


@pytest.mark.parametrize("values", ["fp32", "bf16", "fp16"])
def test_values_of_a_float_type_are_rounded_to_it(values: str) -> None:
    weight = torch.randn(5, 16)
    stored, scale = narrowed(weight, values)
    assert scale is None
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    assert torch.equal(stored, weight.to(kinds[values]))


def test_int8_values_have_one_scale_a_row_and_are_off_by_half_of_it() -> None:
    weight = torch.randn(5, 16)
    weight[2] = 0
    stored, scale = narrowed(weight, "int8")
    assert scale is not None
    assert scale.shape == (5,)
    assert torch.equal(stored, stored.round())
    assert stored.abs().amax(1).tolist() == [127, 127, 0, 127, 127]
    # Half a step, and the roundings of a division and a product.
    far = (stored * scale[:, None] - weight).abs()
    assert bool((far <= scale[:, None] * (0.5 + 2**-15)).all())


def test_values_that_only_the_reference_takes_are_not_timed() -> None:
    """int8 is refused by it, bf16 is not; either way no figure is printed for compiled code."""

    def op(*_arguments: object, **_options: object) -> torch.Tensor:
        return torch.ops.secateur.csr_linear_reference(*_arguments, **_options)

    from secateur.formats import FORMATS

    packed = FORMATS.get("csr").pack(torch.ones(4, 8), torch.ones(4, 8, dtype=torch.bool))
    case = Case(4, 8, 1, "csr", 0.5)
    with pytest.raises(NoKernel, match="the reference would run"):
        check_kernel(binder(op, 4, packed.values, packed.index), case)
    with pytest.raises(NoKernel, match="the op refuses them"):
        check_kernel(binder(op, 4, packed.values.to(torch.int8), packed.index), case)
    check_kernel(lambda x: lambda: x + 1, case)


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
