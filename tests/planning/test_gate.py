"""The gate: which layers, formats and row counts are judged worth it, given what was timed."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

import secateur as sc
from secateur.formats import Header
from secateur.planning import gate, record, stopwatch
from secateur.planning.size import Size
from tests.planning.models import WIDTH, kinds, layer, reason, x_of
from tests.support.data import block_mask, crossed_mask, generator, nm_mask
from tests.support.judge import exact


def fake_times(monkeypatch: pytest.MonkeyPatch, speedup: Callable[[str, int], float]) -> list[Any]:
    calls: list[Any] = []

    def measure(layer: Any, packed: Any, size: Size, **_: object) -> record.Timing:
        calls.append((packed.format, size.rows))
        return record.Timing(size.rows, speedup(packed.format, size.rows), 1.0)

    monkeypatch.setattr(gate, "measure", measure)
    return calls


def test_only_layers_measured_faster_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_times(monkeypatch, lambda format, rows: 1.0999)
    fast = sc.convert(nn.Sequential(layer()), rows=[1, 64])
    assert kinds(fast) == []
    assert reason(fast, "0") == "sparse is measured 1.09x at 1 row, 1.09x at 64 rows, below 1.1x"
    assert calls == [("csr", 1), ("csr", 64)]
    fake_times(monkeypatch, lambda format, rows: 1.1)
    fast = sc.convert(nn.Sequential(layer()), rows=[1, 64])
    assert kinds(fast) == ["0"]
    assert fast[0].dense is None


def test_a_row_count_that_loses_keeps_a_dense_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_times(monkeypatch, lambda format, rows: 3.0 if rows >= 64 else 0.5)
    fast = sc.convert(nn.Sequential(layer()).eval(), rows=[4, 64])
    exact(fast[0].dense, layer().weight.detach())
    header = Header.read(fast[0].index)
    verdicts = {rows: header.verdict(rows) for rows in (1, 2, 4, 8, 16, 17, 64, 256, 10**6)}
    # Buckets are powers of two; 16 lies between 4 and 64, and the nearer (lower) one loses.
    assert verdicts == {
        1: "dense",
        2: "dense",
        4: "dense",
        8: "dense",
        16: "dense",
        17: "sparse",
        64: "sparse",
        256: "sparse",
        10**6: "sparse",
    }
    told = {row.rows: row for row in sc.explain(fast).rows}
    assert told[4].kernel == "torch"
    assert told[64].kernel != "torch"
    assert told[4].bytes_now > layer().weight.nbytes
    for rows in (4, 64):
        exact(fast(x_of(rows, WIDTH)), layer()(x_of(rows, WIDTH)))


def test_one_loser_in_a_bucket_decides_it() -> None:
    def timings(*pairs: tuple[int, float]) -> list[record.Timing]:
        return [record.Timing(rows, speedup, 1.0) for rows, speedup in pairs]

    assert gate.verdicts_of(timings((5, 3.0), (8, 1.0))) == {3: "dense"}
    assert gate.verdicts_of(timings((5, 1.0), (8, 3.0))) == {3: "dense"}
    assert gate.verdicts_of(timings((4, 3.0), (5, 1.0))) == {2: "sparse", 3: "dense"}
    assert gate.spread({}) == {}


def test_memory_never_keeps_a_dense_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_times(monkeypatch, lambda format, rows: 3.0 if rows >= 64 else 0.5)
    big = nn.Sequential(layer(256, 256, 0.1))
    fast = sc.convert(big, rows=[4, 64], objective="memory")
    assert kinds(fast) == ["0"]
    assert fast[0].dense is None
    fake_times(monkeypatch, lambda format, rows: 0.9)
    slow = sc.convert(big, rows=[4, 64], objective="memory")
    assert reason(slow, "0").endswith("slower over these row counts together")
    fake_times(monkeypatch, lambda format, rows: 9.0)
    large = sc.convert(nn.Sequential(layer(8, 8, 0.6)), rows=[4], objective="memory")
    assert "packed it would take" in reason(large, "0")


def test_the_faster_format_is_taken_and_the_other_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH))
    model[0].weight = nn.Parameter(nm_mask(WIDTH, WIDTH, 2, 4, generator()).float())
    for winner, loser in (("nm", "csr"), ("csr", "nm")):

        def measure(
            layer: Any, packed: Any, size: Size, best: str = winner, **_: object
        ) -> record.Timing:
            return record.Timing(size.rows, 3.0, 1.0 if packed.format == best else 2.0)

        monkeypatch.setattr(gate, "measure", measure)
        fast = sc.convert(model, rows=[8])
        assert fast[0].format == winner
        (note,) = sc.explain(fast).layers
        assert note.rejected == [f"{loser}: 1.50x at 8 rows, {winner} is faster"]
        assert f"not taken: {loser}" in str(sc.explain(fast))
        small = sc.convert(model, rows=[8], objective="memory")
        assert small[0].format == "nm"
        assert sc.explain(small).layers[0].rejected[0].endswith("rows, nm is smaller")


def test_layers_alike_share_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_times(monkeypatch, lambda format, rows: 2.0)
    model = nn.Sequential(layer(), layer(), layer(density=0.4), layer(48, 64))
    sc.convert(model, rows=[8])
    assert len(calls) == 3


def dense(mask: Tensor) -> nn.Linear:
    """A layer none of whose kept weights is zero."""
    made = layer()
    made.weight = nn.Parameter(mask.float())
    return made


def test_blocks_and_missing_rows_are_measured_like_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gen = generator()
    for mask, name in (
        (block_mask(WIDTH, WIDTH, 4, 1, gen), "bsr"),
        (crossed_mask(WIDTH, WIDTH, gen), "rows"),
    ):
        model = nn.Sequential(dense(mask))
        calls = fake_times(monkeypatch, lambda format, rows: 3.0 if format != "csr" else 2.0)
        fast = sc.convert(model, rows=[8])
        assert (name, 8) in calls
        assert ("csr", 8) in calls
        assert fast[0].format == name
        assert f"not taken: csr: 2.00x at 8 rows, {name} is faster" in str(sc.explain(fast))
        exact(fast(x_of(3, WIDTH)), model(x_of(3, WIDTH)))


@pytest.mark.parametrize(("rows", "name"), [([1], "bitmap"), ([1, 4], "bitmap"), ([1, 64], "csr")])
def test_a_bitmap_is_taken_where_only_few_rows_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, rows: list[int], name: str
) -> None:
    fake_times(monkeypatch, lambda format, rows: 3.0 if format == "bitmap" else 2.0)
    model = nn.Sequential(layer(density=0.5))
    fast = sc.convert(model, rows=rows)
    assert fast[0].format == name
    exact(fast(x_of(70, WIDTH)), model(x_of(70, WIDTH)))


def test_blocks_of_another_shape_are_measured_for_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = fake_times(monkeypatch, lambda format, rows: 2.0)
    masks = [block_mask(WIDTH, WIDTH, r, c, generator(r)) for r, c in ((4, 1), (16, 1), (4, 1))]
    sc.convert(nn.Sequential(*map(dense, masks)), rows=[8])
    assert [format for format, _ in calls] == ["bsr", "csr", "bsr"]


def test_the_model_gate_decides_alike_every_time() -> None:
    model = nn.Sequential(layer(512, 512, 0.1), layer(512, 512, 0.6))
    first, second = (sc.convert(model, rows=[64, 512], gate="model") for _ in range(2))
    assert sc.explain(first).layers == sc.explain(second).layers
    assert kinds(first) == ["0"]
    assert all(row.predicted for row in sc.explain(first).rows if row.dense_ms is not None)
    assert "predicted by the cost model" in str(sc.explain(first))


def test_the_stopwatch_tells_fast_from_slow() -> None:
    def work(times: int) -> Callable[[], int]:
        return lambda: sum(range(times))

    dense_ms, sparse_ms = stopwatch.compare(work(20000), work(2000), threshold=1.1, budget_s=0.02)
    assert dense_ms > 2 * sparse_ms > 0


def test_pages_mapped_anew_are_counted() -> None:
    pytest.importorskip("resource", reason="page faults are counted on Unix only")
    length = 1 << 26  # a mapping of its own, whatever the allocator has

    def touched() -> None:
        with mmap.mmap(-1, length) as fresh:
            fresh[::4096] = bytes(length // 4096)

    # Huge pages take fewer faults, but never none.
    assert stopwatch.page_faults(touched) > 0
    assert stopwatch.page_faults(lambda: None) == 0
