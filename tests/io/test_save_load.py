"""sc.save and sc.load: the same model comes back, and what is no such file is refused."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import secateur as sc
from secateur.formats import Header, with_verdicts
from secateur.io import layout
from secateur.planning import machine
from tests.support.data import generator, integers, nm_mask, random_mask
from tests.support.judge import exact

WIDTH = 64


class Model(nn.Module):
    """An embedding tied to its head, a buffer, a layer used twice, a dense and a frozen one."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, width)
        self.body = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.again = self.body[0]
        self.dense = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 10, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)
        self.dense.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.again(self.body(self.embed(ids)).remainder(5))
        return self.head(self.dense(x.remainder(5)).remainder(5)) * self.scale


def pruned(seed: int = 0) -> Model:
    made = Model().eval()
    gen = generator(seed)
    for parameter in made.parameters():
        parameter.data = integers(parameter.shape, gen)
    made.body[0].weight.data *= random_mask(WIDTH, WIDTH, 0.2, gen)
    made.body[2].weight.data = made.body[2].weight.data.abs() + 1
    made.body[2].weight.data *= nm_mask(WIDTH, WIDTH, 2, 4, gen)
    made.scale.fill_(3)
    return made


def fast_model() -> Model:
    fast = sc.convert(pruned(), torch.arange(10), gate="always")
    assert isinstance(fast.body[2], sc.SparseLinear)
    return fast


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    sc.save(fast_model(), path)
    return path


IDS = torch.arange(10)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_model_comes_back(saved: Path, device: str) -> None:
    with torch.device(device):
        skeleton = Model()
    if device == "meta":
        skeleton.scratch = torch.zeros(3)
    before = {name: id(t) for name, t in skeleton.state_dict(keep_vars=True).items()}
    loaded = sc.load(skeleton.eval(), saved)
    assert before == {name: id(t) for name, t in skeleton.state_dict(keep_vars=True).items()}
    fast = fast_model()
    exact(loaded(IDS), fast(IDS))
    exact(loaded(IDS), pruned()(IDS))
    assert loaded.head.weight is loaded.embed.weight
    assert loaded.again is loaded.body[0]
    assert [m.format for m in (loaded.body[0], loaded.body[2])] == ["csr", "nm"]
    for (name, mine), (other, theirs) in zip(
        loaded.state_dict().items(), fast.state_dict().items(), strict=True
    ):
        assert name == other
        exact(mine, theirs)
    for name, parameter in fast.named_parameters():
        assert loaded.get_parameter(name).requires_grad == parameter.requires_grad
    assert not any(m.training for m in loaded.modules())
    assert str(sc.explain(loaded)) == str(sc.explain(fast))


def test_the_skeleton_stays_and_shares_nothing(saved: Path) -> None:
    skeleton = pruned(seed=7)
    before = skeleton(IDS)
    loaded = sc.load(skeleton, saved)
    with torch.no_grad():
        for tensor in (*loaded.parameters(), *loaded.buffers()):
            tensor.zero_()
    exact(skeleton(IDS), before)
    assert isinstance(skeleton.body[0], nn.Linear)


def test_a_converted_model_serves_as_skeleton(saved: Path) -> None:
    exact(sc.load(fast_model(), saved)(IDS), pruned()(IDS))


def test_the_file_is_canonical_small_and_plain(saved: Path) -> None:
    tensors = load_file(saved)
    fast = fast_model()
    exact(tensors["body.0.values"], pruned().body[0].weight.detach()[fast.body[0].mask])
    assert tensors["body.0.mask"].numel() == WIDTH * WIDTH // 8
    assert "head.weight" not in tensors, "tied tensors are to be stored once"
    assert not any(name.startswith("again.") for name in tensors)
    assert "scratch" not in tensors
    length = struct.unpack("<Q", saved.read_bytes()[:8])[0]
    header = json.loads(saved.read_bytes()[8 : 8 + length])
    data = json.loads(header["__metadata__"]["secateur"])
    assert data["version"] == 1
    assert set(data["layers"]) == {"body.0", "body.2"}
    assert data["aliases"]["head.weight"] == "embed.weight"


def test_saving_the_same_model_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    fast = fast_model()
    sc.save(fast, first)
    sc.save(fast, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_dense_model_can_be_saved_too(tmp_path: Path) -> None:
    sc.save(pruned(), tmp_path / "dense")
    exact(sc.load(Model().eval(), tmp_path / "dense")(IDS), pruned()(IDS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_are_the_files(tmp_path: Path, dtype: torch.dtype) -> None:
    fast = fast_model().to(dtype)
    sc.save(fast, tmp_path / "model")
    loaded = sc.load(Model().eval(), tmp_path / "model")
    assert {p.dtype for p in loaded.parameters()} == {dtype}
    exact(loaded(IDS), fast(IDS))


def test_verdicts_and_the_dense_copy_come_back_on_the_same_machine(tmp_path: Path) -> None:
    fast = fast_model()
    layer = fast.body[0]
    layer.index = with_verdicts(layer.index, {1: "dense", 64: "sparse"}, machine.stamp())
    layer.keep_dense()
    sc.save(fast, tmp_path / "model")
    loaded = sc.load(Model().eval(), tmp_path / "model")
    exact(loaded.body[0].index, layer.index)
    exact(loaded.body[0].dense, pruned().body[0].weight.detach())
    assert loaded.body[2].dense is None


def test_on_another_machine_the_cost_model_gives_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = fast_model()
    layer = fast.body[0]
    # Contrary to any model: sparse loses everywhere.
    losing = {1 << at: "dense" for at in range(16)}
    layer.index = with_verdicts(layer.index, losing, machine.stamp())
    layer.keep_dense()
    sc.save(fast, tmp_path / "model")
    monkeypatch.setattr(machine, "stamp", lambda: 7)
    loaded = sc.load(Model().eval(), tmp_path / "model")
    header = Header.read(loaded.body[0].index)
    assert header.machine == 7
    assert all(header.verdict(rows) for rows in losing)
    assert header.verdicts != Header.read(layer.index).verdicts
    exact(loaded(IDS), pruned()(IDS))


@pytest.mark.parametrize("targets", [None, ["*in_proj_weight"], ["*out_proj", "*linear1"]])
def test_attention_comes_back(tmp_path: Path, targets: Any) -> None:
    def build() -> nn.Transformer:
        return nn.Transformer(16, 4, 1, 1, 32, batch_first=True).eval()

    dense = build()
    sc.prune(dense, 0.5, targets=targets)
    args = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    fast = sc.convert(dense, args, gate="always")
    sc.save(fast, tmp_path / "model")
    loaded = sc.load(build(), tmp_path / "model")
    with torch.no_grad():
        exact(loaded(*args), fast(*args))
    assert repr(loaded) == repr(fast)


def test_a_single_layer_is_a_model_too(tmp_path: Path) -> None:
    layer = sc.SparseLinear.from_dense(pruned().body[0])
    sc.save(layer, tmp_path / "layer")
    exact(sc.load(nn.Linear(WIDTH, WIDTH), tmp_path / "layer").weight, layer.weight)


def test_a_failed_write_leaves_the_old_file_and_no_other(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def broken(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        sc.save(fast_model(), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_new_file_has_the_usual_permissions(saved: Path) -> None:
    other = saved.with_name("other")
    other.write_bytes(b"")
    assert saved.stat().st_mode == other.stat().st_mode


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"model: wanted a torch\.nn\.Module, got dict"):
        sc.save({}, tmp_path / "x")
    with pytest.raises(ValueError, match="model: 'weight' is on the meta device"):
        sc.save(nn.Linear(3, 3, device="meta"), tmp_path / "x")

    class Extra(nn.Module):
        def get_extra_state(self) -> object:
            return {"step": 3}

    with pytest.raises(ValueError, match="model: Extra keeps '_extra_state'"):
        sc.save(nn.Sequential(Extra()), tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        sc.save(nn.Linear(3, 3), tmp_path / "nowhere" / "x")
    assert not list(tmp_path.iterdir())


def test_without_safetensors_the_way_out_is_told(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match="pip install 'secateur"):
        sc.save(fast_model(), saved)
    with pytest.raises(ImportError, match="pip install 'secateur"):
        sc.load(Model(), saved)


def rewritten(path: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> None:
    """Change the tensors and the metadata of a saved file."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
    data = json.loads(metadata["secateur"])
    tensors = load_file(path)
    change(tensors, data)
    save_file(tensors, path, metadata={**metadata, "secateur": json.dumps(data)})


def refused(path: Path, match: str, skeleton: nn.Module | None = None) -> None:
    skeleton = pruned() if skeleton is None else skeleton
    before = {**dict(skeleton.named_parameters()), **dict(skeleton.named_buffers())}
    values = {name: t.detach().clone() for name, t in before.items()}
    with pytest.raises(ValueError, match=match) as caught:
        sc.load(skeleton, path)
    assert str(path) in str(caught.value)
    for name, tensor in (*skeleton.named_parameters(), *skeleton.named_buffers()):
        assert tensor is before[name]
        exact(tensor.detach(), values[name])


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_a_truncated_file_is_refused(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    refused(saved, "no whole safetensors file")


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    refused(path, "no whole safetensors file")
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    refused(path, "no whole safetensors file")
    save_file({"weight": torch.ones(3)}, path)
    refused(path, "not written by secateur.save")
    with pytest.raises(FileNotFoundError, match="path: no file at"):
        sc.load(pruned(), tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        sc.load(pruned(), tmp_path)
    with pytest.raises(TypeError, match=r"skeleton: wanted a torch\.nn\.Module"):
        sc.load(dict, path)


def test_flipped_bytes_never_crash(saved: Path) -> None:
    """Damage gives a clear error, or a model (where the byte was a weight's)."""
    raw = bytearray(saved.read_bytes())
    gen = generator()
    for _ in range(60):
        at = int(torch.randint(len(raw) // 4, (), generator=gen))
        hurt = bytearray(raw)
        hurt[at] ^= 1 << int(torch.randint(8, (), generator=gen))
        saved.write_bytes(hurt)
        try:
            sc.load(pruned(), saved)
        except ValueError as error:
            assert "cannot load" in str(error)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t, d: t.pop("body.2.values"), r"it lacks 'body\.2\.values'"),
        (lambda t, d: t.pop("norm.bias"), r"it lacks 'norm\.bias', which the skeleton has"),
        (lambda t, d: t.update(more=torch.ones(1)), "it holds 'more', which the skeleton has not"),
        (lambda t, d: t.pop("embed.weight"), "refers to tensors it does not hold"),
        (lambda t, d: t.update({"body.0.values": torch.ones(3)}), r"'body\.0': mask keeps \d+"),
        (lambda t, d: t["body.0.mask"].bitwise_not_(), r"'body\.0': mask keeps \d+"),
        (lambda t, d: t.update({"body.0.mask": torch.ones(512)}), r"mask must be 512 bytes"),
        (
            lambda t, d: t.update({"body.0.mask": t["body.0.mask"][1:]}),
            r"'body\.0\.mask' is \[511\]",
        ),
        (lambda t, d: t["body.0.version"].fill_(9), "has version 9 of the sparse form"),
        (
            lambda t, d: t.update({"dense.bias": torch.ones(3)}),
            r"'dense\.bias' is \[3\] in the file",
        ),
        (lambda t, d: t.update({"body.0.bias": torch.ones(3)}), r"'body\.0\.bias' is \[3\] in"),
        (lambda t, d: d.update(version=2), "it has version 2; this package reads version 1"),
        (lambda t, d: d.pop("layers"), "its metadata is damaged"),
        (lambda t, d: d.update(layers=3), "its metadata is damaged"),
        (lambda t, d: d.update(aliases=[1]), "its metadata is damaged"),
        (lambda t, d: d.update(record={"layers": 0}), "not a record of this version"),
        (lambda t, d: d.update(record=3), "not a record of this version"),
        (lambda t, d: d["layers"].pop("body.0"), r"it lacks 'body\.0\.weight'"),
        (lambda t, d: d["layers"]["body.0"].update(kind="conv"), "unknown kind of layer 'conv'"),
        (lambda t, d: d["layers"]["body.0"].update(in_features=-1), "numbers out of range"),
        (lambda t, d: d["layers"]["body.0"].update(in_features=2**40), "numbers out of range"),
        (lambda t, d: d["layers"]["body.0"].update(in_features=2**31), r"is \[64, 2147483648\] in"),
        (lambda t, d: d["layers"]["body.0"].update(in_features="64"), "numbers out of range"),
        (lambda t, d: d["layers"]["body.0"].update(bias=2), "neither true nor false"),
        (lambda t, d: d["layers"]["body.0"].update(more=2), "its metadata is damaged"),
        (lambda t, d: d["layers"].update(x=d["layers"]["body.0"]), "not in the skeleton at all"),
        (lambda t, d: d["layers"].update(embed=d["layers"]["body.0"]), "Embedding in the skeleton"),
        (
            lambda t, d: d["layers"]["body.0"].update(kind="attention", parts=[3]),
            "is sparse attention in the file and Linear",
        ),
        (
            lambda t, d: d["layers"]["body.0"].update(kind="attention", parts=[3, 10**9]),
            "its metadata is damaged",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(
    saved: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], object], match: str
) -> None:
    rewritten(saved, change)
    refused(saved, match)


def test_a_format_of_the_future_is_repacked_with_one_of_ours(saved: Path) -> None:
    rewritten(saved, lambda t, d: d["layers"]["body.0"].update(format="bsr"))
    loaded = sc.load(pruned(), saved)
    assert loaded.body[0].format == "csr"
    exact(loaded(IDS), pruned()(IDS))


def test_skeletons_that_do_not_fit_are_named(saved: Path, tmp_path: Path) -> None:
    refused(saved, r"'embed\.weight' is \[10, 64\] in the file and \[10, 32\]", Model(32))
    narrow = Model()
    narrow.body[2] = nn.Linear(WIDTH, 32)
    refused(saved, r"'body\.2' is \[64, 64\] in the file and \[32, 64\] in the skel", narrow)
    refused(saved, "not in the skeleton at all", nn.Linear(3, 3))
    sc.save(pruned(), tmp_path / "dense")
    refused(tmp_path / "dense", "is dense in the file and sparse in the skeleton", fast_model())


def test_metadata_reads_what_it_wrote() -> None:
    spec = layout.FileSpec(
        {"a": layout.LayerSpec("linear", 3, 4, True, "csr", False, 5, 6)}, {"b": "c"}, None
    )
    assert layout.read(spec.to_metadata()) == spec
    for text in ("", "[", "[]", "3", '{"version": 1}', "[" * 100_000):
        with pytest.raises(ValueError, match="damaged"):
            layout.read({layout.KEY: text})
