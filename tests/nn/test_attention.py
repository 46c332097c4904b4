"""SparseMultiheadAttention against nn.MultiheadAttention, over what its call allows."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

import secateur as sc
from secateur.nn.convert import settle
from tests.support.data import generator, reals

ignore_prototype = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")

N, L, S, E, HEADS = 2, 5, 7, 16, 4


def attention(**settings: object) -> nn.MultiheadAttention:
    made = nn.MultiheadAttention(E, HEADS, dtype=torch.float64, **settings).eval()
    for parameter in made.parameters():
        parameter.data = reals(parameter.shape, generator(parameter.numel()), torch.float64)
    sc.prune(made, 0.5)
    return made


def converted(dense: nn.MultiheadAttention, inputs: object = None) -> nn.Module:
    fast = sc.convert(dense, inputs, gate="always")
    assert isinstance(fast, sc.SparseMultiheadAttention)
    assert all(isinstance(m, sc.SparseLinear) for m in (*fast.in_proj, fast.out_proj))
    return fast


def inputs(dense: nn.MultiheadAttention, kind: str, batched: bool) -> tuple[Tensor, ...]:
    def one(length: int, width: int, seed: int) -> Tensor:
        shape = (N, length) if dense.batch_first else (length, N)
        full = (*shape, width) if batched else (length, width)
        return reals(full, generator(seed), torch.float64)

    if kind == "self":
        x = one(L, E, 1)
        return x, x, x
    query, key = one(L, E, 1), one(S, dense.kdim, 2)
    return query, key, key if kind == "memory" else one(S, dense.vdim, 3)


def same(fast: nn.Module, dense: nn.Module, args: tuple[Tensor, ...], **options: object) -> None:
    with torch.no_grad():
        (y, shares), (wanted_y, wanted_shares) = fast(*args, **options), dense(*args, **options)
    torch.testing.assert_close(y, wanted_y)
    torch.testing.assert_close(shares, wanted_shares)


@pytest.mark.parametrize("kind", ["self", "memory", "three"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_outputs_and_weights_are_torchs(kind: str, batch_first: bool, bias: bool) -> None:
    dense = attention(batch_first=batch_first, bias=bias)
    for batched in (True, False):
        args = inputs(dense, kind, batched)
        fast = converted(dense, args)
        assert fast.shares == {"self": (3,), "memory": (1, 2), "three": (1, 1, 1)}[kind]
        for need, average in itertools.product((True, False), (True, False)):
            same(fast, dense, args, need_weights=need, average_attn_weights=average)


@pytest.mark.parametrize("made_for", ["self", "memory", "three"])
@pytest.mark.parametrize("called_with", ["self", "memory", "three"])
def test_however_projections_are_shared_every_call_is_right(
    made_for: str, called_with: str
) -> None:
    dense = attention()
    fast = converted(dense, inputs(dense, made_for, True))
    same(fast, dense, inputs(dense, called_with, True))


def test_keys_and_values_of_other_widths() -> None:
    dense = attention(kdim=12, vdim=10)
    args = inputs(dense, "three", True)
    fast = converted(dense, args)
    same(fast, dense, args)
    same(fast.to_dense(), dense, args)


@pytest.mark.parametrize("floating", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_masks_are_torchs(floating: bool, batched: bool) -> None:
    dense = attention(batch_first=True)
    fast = converted(dense)
    args = inputs(dense, "memory", batched)
    two = torch.ones(L, S, dtype=torch.bool).triu(2)
    three = two.repeat(N * HEADS if batched else HEADS, 1, 1)
    three[0, 0, 1] = True
    padding = torch.zeros(N, S, dtype=torch.bool)
    padding[1, 4:] = True
    padding = padding if batched else padding[1]

    def said(mask: Tensor) -> Tensor:
        return mask.double() * -1e9 if floating else mask

    for mask, pad, need in itertools.product((None, two, three), (None, padding), (True, False)):
        same(
            fast,
            dense,
            args,
            attn_mask=None if mask is None else said(mask),
            key_padding_mask=None if pad is None else said(pad),
            need_weights=need,
        )


@pytest.mark.parametrize("need", [False, True])
def test_the_causal_hint(need: bool) -> None:
    dense = attention(batch_first=True)
    fast = converted(dense)
    mask = nn.Transformer.generate_square_subsequent_mask(L, dtype=torch.float64)
    padding = torch.zeros(N, L, dtype=torch.float64)
    padding[0, 3:] = float("-inf")
    for pad in (None, padding):
        same(
            fast,
            dense,
            inputs(dense, "self", True),
            attn_mask=mask,
            key_padding_mask=pad,
            is_causal=True,
            need_weights=need,
        )
    with pytest.raises(ValueError, match="attn_mask: wanted with is_causal"):
        fast(*inputs(dense, "self", True), is_causal=True)


def test_wrong_mask_shapes_are_named() -> None:
    dense = attention(batch_first=True)
    args = inputs(dense, "self", True)
    fast = converted(dense)
    with pytest.raises(ValueError, match=r"attn_mask: wanted shape \[5, 5\], got \[5, 4\]"):
        fast(*args, attn_mask=torch.zeros(5, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"key_padding_mask: wanted shape \[2, 5\]"):
        fast(*args, key_padding_mask=torch.zeros(2, 4, dtype=torch.bool))


def test_gradients_reach_x_and_the_kept_weights() -> None:
    dense = attention(batch_first=True).train()
    fast = converted(dense)
    x = inputs(dense, "self", True)[0]
    grads = []
    for module in (dense, fast):
        leaf = x.clone().requires_grad_()
        module(leaf, leaf, leaf)[0].square().sum().backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads)
    part = fast.in_proj[0]
    with torch.no_grad():
        part.values.copy_(part.values.grad)
    torch.testing.assert_close(part.weight, dense.in_proj_weight.grad * part.mask)


def test_dropout_works_on_the_shares() -> None:
    dense = attention(dropout=0.5).train()
    fast = converted(dense)
    args = inputs(dense, "self", True)
    runs = [fast(*args, need_weights=need)[0] for need in (True, True, False, False)]
    assert not torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[2], runs[3])
    same(fast.eval(), dense.eval(), args)


def test_there_and_back() -> None:
    dense = attention(batch_first=True)
    back = sc.to_dense(converted(dense))
    assert isinstance(back, nn.MultiheadAttention)
    for name, tensor in dense.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    same(back, dense, inputs(dense, "self", True))


@pytest.mark.parametrize("setting", ["add_bias_kv", "add_zero_attn"])
def test_what_has_no_drop_in_stays_dense_and_says_why(setting: str) -> None:
    dense = nn.MultiheadAttention(E, HEADS, **{setting: True})
    sc.prune(dense, 0.5)
    fast = sc.convert(nn.Sequential(dense), gate="always")
    assert isinstance(fast[0], nn.MultiheadAttention)
    assert f"{setting}=True" in str(sc.explain(fast))
    with pytest.raises(ValueError, match=setting):
        sc.SparseMultiheadAttention(dense, [], nn.Linear(E, E))


def encoder(**settings: object) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        E, HEADS, 32, batch_first=True, dtype=torch.float64, **settings
    )
    made = nn.TransformerEncoder(layer, 2).eval()
    for parameter in made.parameters():
        if parameter.dim() > 1:
            parameter.data = reals(parameter.shape, generator(parameter.numel()), torch.float64)
    sc.prune(made, 0.5)
    return made


@ignore_prototype
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("targets", [None, ["*linear1", "*linear2"], ["*self_attn"]])
@pytest.mark.parametrize("grad", [False, True])
def test_transformer_encoders_are_right_in_eval_mode(
    activation: str, targets: list[str] | None, grad: bool
) -> None:
    """Their fused path reads dense weights, or hands nested tensors to the layers."""
    dense = encoder(activation=activation)
    x = reals((N, L, E), generator(1), torch.float64)
    padding = torch.zeros(N, L, dtype=torch.bool)
    padding[1, 3:] = True
    fast = sc.convert(dense, x, gate="always", targets=targets)
    calls = []
    for module in fast.modules():
        if isinstance(module, sc.SparseLinear):
            module.register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(fast(x), dense(x))
        ran = len(calls)
        wanted = dense(x, src_key_padding_mask=padding)
        got = fast(x, src_key_padding_mask=padding)
        torch.testing.assert_close(got[~padding], wanted[~padding])
    assert ran == sum(isinstance(m, sc.SparseLinear) for m in fast.modules()), (
        "a layer was bypassed"
    )


@ignore_prototype
def test_the_fused_path_is_off_without_hooks_too_and_comes_back() -> None:
    dense = encoder()
    fast = sc.convert(dense, gate="always")
    with torch.no_grad():
        # Were the fused path taken, it would read these weights.
        for module in fast.modules():
            if isinstance(module, sc.SparseLinear):
                module.forward = lambda x, width=module.out_features: x.new_zeros(
                    *x.shape[:-1], width
                )
        quiet = fast(reals((N, L, E), generator(1), torch.float64))
        assert not torch.equal(quiet, dense(reals((N, L, E), generator(1), torch.float64)))
    back = sc.to_dense(sc.convert(dense, gate="always"))
    for name, module in dense.named_modules():
        twin = back.get_submodule(name)
        for attribute in ("activation_relu_or_gelu", "use_nested_tensor"):
            assert getattr(twin, attribute, None) == getattr(module, attribute, None)


def test_settling_a_dense_model_changes_nothing() -> None:
    dense = encoder()
    before = [list(module.__dict__) for module in dense.modules()]
    settle(dense)
    assert before == [list(module.__dict__) for module in dense.modules()]


def test_a_whole_transformer_decodes_alike() -> None:
    dense = nn.Transformer(E, HEADS, 2, 2, 32, batch_first=True, dtype=torch.float64).eval()
    sc.prune(dense, 0.5)
    source = reals((N, S, E), generator(1), torch.float64)
    target = reals((N, L, E), generator(2), torch.float64)
    fast = sc.convert(dense, (source, target), gate="always")
    assert not any(isinstance(m, nn.MultiheadAttention | nn.Linear) for m in fast.modules())
    cross = fast.decoder.layers[0].multihead_attn
    assert cross.shares == (1, 2)
    with torch.no_grad():
        torch.testing.assert_close(fast(source, target), dense(source, target))
