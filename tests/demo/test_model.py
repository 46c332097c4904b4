"""The demo's BERT against torch's own encoder layer, and its padding mask."""

import pytest
import torch
from torch import nn

from secateur.demo.model import HEADS, INNER, WIDTH, Classifier, Layer, load_published
from secateur.demo.packages import MissingPackageError, find


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier(8).double().eval()


def torch_layer(layer: Layer) -> nn.TransformerEncoderLayer:
    made = nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER, activation="gelu", layer_norm_eps=1e-12, batch_first=True
    )
    inputs = (layer.q, layer.k, layer.v)
    pairs = {
        "self_attn.out_proj": layer.o,
        "linear1": layer.fc1,
        "linear2": layer.fc2,
        "norm1": layer.norm1,
        "norm2": layer.norm2,
    }
    state = {
        "self_attn.in_proj_weight": torch.cat([x.weight for x in inputs]),
        "self_attn.in_proj_bias": torch.cat([x.bias for x in inputs]),
    }
    state |= {f"{n}.{leaf}": p for n, m in pairs.items() for leaf, p in m.named_parameters()}
    made.double().load_state_dict(state)
    return made.eval()


@torch.no_grad()
def test_a_layer_is_torchs_encoder_layer() -> None:
    torch.manual_seed(1)
    layer = Layer().double().eval()
    x = torch.randn(3, 7, WIDTH, dtype=torch.float64)
    mask = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    ours = layer(x, mask[:, None, None, :].expand(-1, 1, 7, -1))
    theirs = torch_layer(layer)(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours[mask], theirs[mask])


@torch.no_grad()
def test_what_stands_in_the_padding_changes_nothing(model: Classifier) -> None:
    ids = torch.randint(1000, 2000, (3, 9))
    mask = torch.arange(9) < torch.tensor([9, 5, 1])[:, None]
    assert torch.equal(model(ids, mask), model(ids.where(mask, 7), mask))


@torch.no_grad()
def test_a_padded_batch_is_the_unpadded(model: Classifier) -> None:
    ids = torch.randint(1000, 2000, (1, 5))
    padded = torch.cat([ids, torch.zeros(1, 6, dtype=torch.int64)], 1)
    alone = model(ids, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(model(padded, torch.arange(11)[None] < 5), alone)


def test_the_published_weights_fill_the_model() -> None:
    pytest.importorskip("safetensors")
    try:
        weights = find().weights
    except MissingPackageError as error:
        pytest.skip(str(error))
    model = Classifier(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("head."):
                parameter.fill_(torch.nan)
    load_published(model, weights)
    assert all(not parameter.isnan().any() for parameter in model.parameters())
