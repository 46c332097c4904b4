"""One forward pass, watched: what goes together, what never goes, and which ints must follow.

Two modes watch at once. torch's dispatcher shows the ops, few and canonical; the Python functions
show the int arguments before they lose where they came from. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from secateur.pruning.running import evaluating, no_fused_attention
from secateur.pruning.structure import functions
from secateur.pruning.structure.ints import (
    Attr,
    Const,
    Count,
    Equation,
    Expr,
    Traced,
    plain,
    traced_in,
)
from secateur.pruning.structure.labels import Ids, Labels
from secateur.pruning.structure.models import tensors_in, tensors_of
from secateur.pruning.structure.ops import RULES, Call, Info, Unknown

_SHAPE: Any = torch.Tensor.shape  # a descriptor, which the stubs take for a Size
_SIZES = (_SHAPE.__get__, torch.Tensor.size)


@dataclass(eq=False)
class Axis:
    """One dimension of one parameter or buffer.

    Attributes:
        name: of the tensor in the model; the first one if it has several.
        dim: which dimension.
        labels: one for each position.
        parameter: whether it is a parameter, not a buffer.
        side: of a weight, "out" for the dimension its channels come out of, "in" for one that it
            reads them from, "" for others and for vectors.
        channels: whether positions along it may be channels: of a parameter, and no place in a
            convolution's kernel.
        read: whether the tensor was read while the model ran.
    """

    name: str
    dim: int
    labels: Ids
    parameter: bool
    side: str = ""
    channels: bool = False
    read: bool = False


@dataclass(eq=False)
class Norm:
    """An RMS norm over channels that may go: its scale and eps make up for their number.

    Attributes:
        module: the name of the nn.RMSNorm.
        labels: of the positions it takes the mean over.
    """

    module: str
    labels: Ids


class Trace:
    """What one forward pass of a model showed."""

    def __init__(self, model: nn.Module, exact: bool) -> None:
        self.model = model
        self.exact = exact
        self.labels = Labels()
        self.axes: list[Axis] = []
        self.equations: list[Equation] = []
        self.norms: list[Norm] = []
        self.modules: list[str] = []
        self.names = dict(model.named_modules())
        self.frame = functions.Frame("", (), {})
        self.matrices: dict[str, bool] = {}
        self._hidden = False
        self._infos: dict[Any, Info] = {}
        self._axes_of: dict[Any, list[Axis]] = {}
        self._alive: list[Tensor] = []
        for name, tensor in tensors_of(model):
            self._enter(name, tensor)

    def _enter(self, name: str, tensor: Tensor) -> None:
        if not tensor.ndim or not tensor.numel():
            return
        key, parameter = _key(tensor), isinstance(tensor, nn.Parameter)
        if key in self._infos:  # another parameter on the same memory: cut alike
            labels = self._infos[key].labels
        else:
            labels = [self.labels.new(n) if n > 1 else np.zeros(n, np.int64) for n in tensor.shape]
            self._infos[key] = Info(labels, [parameter] * tensor.ndim)
        self.matrices[name] = wide = parameter and sum(n > 1 for n in tensor.shape) > 1
        for d, along in enumerate(labels):
            axis = Axis(name, d, along, parameter)
            if parameter:
                axis.side, axis.channels = self._side(name, d, wide)
            self._axes_of.setdefault(key, []).append(axis)
            self.axes.append(axis)

    def _side(self, name: str, dim: int, wide: bool) -> tuple[str, bool]:
        module = self.names[name.rpartition(".")[0]]
        conv = isinstance(module, nn.modules.conv._ConvNd)
        if conv and dim > 1:
            return "", False
        if not wide or (isinstance(module, nn.Embedding) and dim == 0):
            return "", True
        turned = module.transposed if conv else hasattr(module, "nf")  # Hugging Face's Conv1D
        if isinstance(module, nn.Embedding):
            return "out", True
        return "out" if dim == int(turned) else "in", True

    def info(self, tensor: Tensor) -> Info:
        """Return what is known of a tensor; of one not seen before, that nothing of it goes."""
        key = _key(tensor)
        for axis in self._axes_of.get(key, ()):
            axis.read = True
        if key not in self._infos:
            self._alive.append(tensor)
            self._infos[key] = Info.fixed(tensor.shape)
        info = self._infos[key]
        while info.if_read:
            self.labels.fix(*info.if_read.pop())
        return info

    def note(self, left: Expr, right: Expr) -> None:
        """Take down that two numbers must stay equal. What is equal for good is left out."""
        if isinstance(left, Count) and isinstance(right, Const):
            left, right = right, left
        if isinstance(left, Const):
            if isinstance(right, Count):
                self.labels.fix(right.labels, f"their number is written in the code ({self.where})")
                return
            if isinstance(right, Const):
                return
        self.equations.append(Equation(left, right, self.where))

    def traced(self, value: int, labels: Ids) -> int:
        """Return `value`, the number of positions `labels`, as an int that knows it."""
        return Traced.of(value, Count(labels), self.note)

    @property
    def where(self) -> str:
        """The call that runs now, in words."""
        inside = self.modules[-1] if self.modules else ""
        return f"{self.frame.name.strip('_')} in {inside!r}" if inside else self.frame.name

    def op(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one op, and say what it does to the labels."""
        if self._hidden:
            return func(*args, **kwargs)
        ins = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        # Looked up before the op runs: one such as as_strided_ changes what its operand is.
        known = {id(x): (self.info(x), x.stride()) for x in ins if func._schema.is_mutable}
        out = func(*args, **kwargs)
        self._record(func, args, kwargs, out, known)
        return out

    def _record(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
        known: dict[int, tuple[Info, tuple[int, ...]]],
    ) -> None:
        packet = func.overloadpacket.__name__
        name = (
            packet.rstrip("_") if packet.endswith("_") and not packet.startswith("__") else packet
        )
        outs = [x for x in tree_leaves(out) if isinstance(x, Tensor)]

        def info(x: Tensor) -> Info:
            return known[id(x)][0] if id(x) in known else self.info(x)

        call = Call(
            name,
            args,
            kwargs,
            outs,
            self.labels,
            info,
            self._demand,
            self.frame.adapts,
            self.exact,
            {i: stride for i, (_, stride) in known.items()},
        )
        infos = None
        if name in RULES.names() and func.namespace == "aten":
            try:
                infos = list(RULES.get(name)(call))
            except Unknown:
                infos = None
        if infos is None:
            for x in (x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)):
                for along in info(x).labels:
                    self.labels.fix(along, f"the op {func} is not known")
            infos = [Info.fixed(x.shape) for x in outs]
        for x, found in zip(outs, infos, strict=True):
            self._learn(x, found, name != packet)

    def _learn(self, x: Tensor, info: Info, written: bool = False) -> None:
        """File what is known of a result, which may be an operand written to."""
        assert [len(along) for along in info.labels] == list(x.shape), "a rule returned other sizes"
        key, before = _key(x), self._infos.get(_key(x))
        self._alive.append(x)
        if before is None:
            self._infos[key] = info
            return
        for old, new in zip(before.labels, info.labels, strict=True):
            self.labels.equate(old, new)
        if written and any(
            old and not new for old, new in zip(before.zero, info.zero, strict=True)
        ):
            for other, known in self._infos.items():
                if other[0] == key[0]:
                    known.zero = [False] * len(known.zero)

    def _demand(self, name: str, labels: Ids) -> None:
        expr = self.frame.exprs().get(name)
        if expr is None:
            self.labels.fix(labels, f"{name} of {self.where} cannot be followed")
        else:
            self.note(expr, Count(labels))

    def function(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one Python-level call, noting what its ints must stay equal to."""
        if func in _SIZES:
            return self._size(args, kwargs)
        name = getattr(func, "__name__", str(func))
        self.frame = frame = functions.Frame(name, args, kwargs, functions.adapts(name))
        try:
            if name == "rms_norm" and self._rms_norm(frame):
                return self._in_one_step(func, frame)
            if not functions.before(frame, self):
                for number in traced_in((args, kwargs)):
                    number.freeze()
            out = func(*plain(args), **plain(kwargs))
            functions.after(frame, self, out)
        finally:
            self.frame = functions.Frame("", (), {})
        return out

    def _size(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor = args[0]
        sizes = functions.sizes_of(tensor.shape, self.info(tensor), self)
        if len(args) + len(kwargs) > 1:
            return sizes[plain(args[1] if len(args) > 1 else kwargs["dim"])]
        return torch.Size(sizes)

    def _rms_norm(self, frame: functions.Frame) -> bool:
        """Take an nn.RMSNorm over channels that are zero when removed as one step."""
        name = self.modules[-1] if self.modules else ""
        module, info = self.names.get(name), self.info(frame.args[0])
        if not isinstance(module, nn.RMSNorm) or len(module.normalized_shape) > 1:
            return False
        scale = module.weight
        if scale is None or frame.arg(2, "weight") is not scale:
            return False
        if self.exact and not info.zero[-1]:
            return False
        functions.normalised(frame, self)
        self.labels.equate(info.labels[-1], self.info(scale).labels[0])
        if self.exact and all(norm.module != name for norm in self.norms):
            self.norms.append(Norm(name, info.labels[-1]))
        return True

    def _in_one_step(self, func: Any, frame: functions.Frame) -> Any:
        """Run a call whose ops are not looked at; each dimension of the result is its input's."""
        self._hidden = True
        try:
            out = func(*plain(frame.args), **plain(frame.kwargs))
        finally:
            self._hidden = False
        info = self.info(frame.args[0])
        self._learn(out, Info(list(info.labels), list(info.zero)))
        return out

    def run(self, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """Run the model, watched, in eval mode and without gradients; return what it returns."""
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.model))
            stack.enter_context(no_fused_attention())
            stack.enter_context(torch.no_grad())
            stack.enter_context(self._attributes())
            stack.enter_context(self._places())
            stack.enter_context(_Ops(self))
            stack.enter_context(_Functions(self))
            out = self.model(*inputs, **keywords)
        self.modules.clear()
        found = list(tensors_in(out))
        if not found:
            raise ValueError(
                f"the model returned no tensor but {type(out).__name__}: what it computes is not "
                "to be seen. Wrap it in a module that returns tensors"
            )
        for leaf in found:
            for along in self.info(leaf).labels:
                self.labels.fix(along, "an output of the model")
        for axis in self.axes:
            if not axis.read:
                self.labels.fix(axis.labels, "not read when the model ran")
        self._alive.clear()
        return out

    @contextmanager
    def _attributes(self) -> Iterator[None]:
        """Let the int attributes of all modules know who they are, for a while."""
        kept: list[tuple[dict[str, Any], str, Any]] = []
        for name, module in self.names.items():
            for word, value in list(vars(module).items()):
                if word.startswith("_"):
                    continue
                traced = self._marked(name, word, value)
                if traced is not None:
                    kept.append((module.__dict__, word, value))
                    module.__dict__[word] = traced
        try:
            yield
        finally:
            for place, word, value in kept:
                place[word] = value

    def _marked(self, module: str, word: str, value: Any) -> Any:
        if type(value) is int:
            return Traced.of(value, Attr(module, word), self.note)
        if type(value) is tuple and value and all(type(item) is int for item in value):
            items = enumerate(value)
            return tuple(Traced.of(n, Attr(module, word, at), self.note) for at, n in items)
        return None

    @contextmanager
    def _places(self) -> Iterator[None]:
        """Know which module runs, for a while."""
        with ExitStack() as stack:
            for name, module in self.names.items():
                enter = module.register_forward_pre_hook(
                    lambda *_, name=name: self.modules.append(name), prepend=True
                )
                leave = module.register_forward_hook(self._left)
                stack.callback(enter.remove)
                stack.callback(leave.remove)
            yield

    def _left(self, *_: Any) -> None:
        self.modules.pop()


class _Ops(TorchDispatchMode):
    def __init__(self, trace: Trace) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = trace

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True makes the first op import torch.compile, which takes seconds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.trace.op(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.trace.function(func, args, kwargs or {})


def _key(tensor: Tensor) -> tuple[Any, ...]:
    """Return what two tensors have in common that are the same elements, in the same order."""
    storage = tensor.untyped_storage().data_ptr()
    return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype
