"""A convolution and the batch normalization after it as one convolution, for inference."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.fx import Tracer

from secateur.nn import dense_layer, layers
from secateur.nn.dense_layer import DenseLayer


def why_not(conv: nn.Module, norm: nn.Module) -> str | None:
    """Return why `norm` cannot be folded into the convolution before it, or None if it can."""
    if type(norm).forward is not nn.BatchNorm2d.forward:
        return f"{type(norm).__name__} has a forward of its own"
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no running statistics"
    if norm.training:
        return "it is in training mode"
    return dense_layer.why_not_conv(conv, depthwise=True)


@torch.no_grad()
def folded(layer: DenseLayer, norm: nn.BatchNorm2d) -> DenseLayer:
    """Return `layer` with `norm` in its weight and bias (Jacob et al. 2018, section 3.2).

    w' = w * s and b' = (b - mean) * s + beta, where s = gamma / sqrt(variance + eps), in float64.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    scale = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    bias = -norm.running_mean.double() if layer.bias is None else layer.bias - norm.running_mean
    bias = bias.double() * scale
    if norm.bias is not None:
        bias = bias + norm.bias.double()
    weight = (layer.weight.double() * scale[:, None]).to(layer.weight.dtype)
    return layer._replace(weight=weight, bias=bias.to(layer.weight.dtype))


@torch.no_grad()
def off(layer: DenseLayer, norm: nn.BatchNorm2d, x: Tensor) -> float:
    """Return how far folding moves the output on `x`, in what rounding may do; 1 is the most.

    Rounding: (products + 8) eps times the sum of everything's size.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    dense, made = layers.dense(layer), layers.dense(folded(layer, norm))
    sizes = [None if t is None else t.abs() for t in (layer.bias, norm.bias)]
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = (scale if norm.weight is None else scale * norm.weight).abs()
    whole = layers.dense(layer._replace(weight=layer.weight.abs(), bias=sizes[0]))(x.abs())
    whole = (whole + norm.running_mean.abs()[:, None, None]) * scale[:, None, None]
    whole = whole if sizes[1] is None else whole + sizes[1][:, None, None]
    bound = (layer.weight.shape[1] + 8) * torch.finfo(x.dtype).eps * whole
    far = (made(x) - norm(dense(x))).abs()
    return float((far / bound.clamp_min(torch.finfo(x.dtype).tiny)).max())


def pairs(model: nn.Module) -> dict[nn.Module, nn.BatchNorm2d]:
    """Return for each convolution whose output only a batch normalization takes, that one.

    Raises:
        ValueError: if torch.fx cannot trace the model's forward.
    """
    try:
        graph = Tracer().trace(model)
    except Exception as error:
        raise ValueError(
            f"fold_batchnorm: wanted a model whose forward torch.fx can trace, but it raised "
            f"{type(error).__name__}: {error}. Leave it False, or fold before converting"
        ) from error
    called = [node for node in graph.nodes if node.op == "call_module"]
    modules = {node: model.get_submodule(str(node.target)) for node in called}
    times = Counter(modules.values())
    found: dict[nn.Module, nn.BatchNorm2d] = {}
    for node, norm in modules.items():
        inputs = node.all_input_nodes
        if not isinstance(norm, nn.BatchNorm2d) or len(inputs) != 1:
            continue
        conv = modules.get(inputs[0])
        if conv is None or len(inputs[0].users) > 1 or times[conv] + times[norm] > 2:
            continue
        if why_not(conv, norm) is None:
            found[conv] = norm
    return found
