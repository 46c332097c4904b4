from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import roofline, run


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(roofline, "COMPILERS", ())


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_run_says_so_and_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(roofline.Unavailable, match="no C\\+\\+ compiler"):
        roofline.find_compiler()
    assert run.probe(1) is None
    assert "no % of bound: no C++ compiler" in capsys.readouterr().out


def test_the_probe_is_compiled_once_and_its_ceilings_are_ordered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        first = roofline.build(tmp_path)
        monkeypatch.setattr(roofline, "_DRAM_BYTES", 64 << 20)
        probed = roofline.probe(1)
    except roofline.Unavailable as reason:
        pytest.skip(str(reason))
    stamp = first.stat().st_mtime_ns
    assert roofline.build(tmp_path) == first
    assert first.stat().st_mtime_ns == stamp
    # Memory cannot feed the FMA units at the rate of registers; 2 leaves room for a busy machine.
    assert 0 < probed.read["DRAM"] < 4 * probed.fma
    assert probed.tile < 2 * probed.fma
    assert probed.loads == probed.operand / (2 * probed.width)
    assert probed.isa in str(probed)


def test_a_probe_that_does_not_compile_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "probe.cpp"
    broken.write_text("not C++")
    monkeypatch.setattr(roofline, "SOURCE", broken)
    try:
        roofline.find_compiler()
    except roofline.Unavailable as reason:
        pytest.skip(str(reason))
    with pytest.raises(roofline.Unavailable, match="could not compile"):
        roofline.build(tmp_path / "build")
    assert not list((tmp_path / "build").glob("*.so"))
