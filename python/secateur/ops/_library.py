"""How an op that layers call enters torch's namespace `secateur`; they are all defined here."""

from __future__ import annotations

from typing import Any

import torch

_LIBRARY: Any = torch.library.Library("secateur", "FRAGMENT")


def define(name: str, schema: str, implementation: Any, fake: Any) -> None:
    """Define an op.

    Args:
        name: without the namespace.
        schema: its arguments and result, as torch.library has them.
        implementation: what devices without a kernel run.
        fake: the shape rule, for tracing.
    """
    _LIBRARY.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"secateur::{name}", fake, lib=_LIBRARY)


def on_cuda(name: str, implementation: Any) -> None:
    """Give the op `name` what it runs on CUDA devices."""
    _LIBRARY.impl(name, implementation, "CUDA")


def differentiate(name: str, backward: Any, save: Any) -> None:
    """Give the op `name` its gradient; see torch.library.register_autograd."""
    torch.library.register_autograd(f"secateur::{name}", backward, setup_context=save, lib=_LIBRARY)


def found(name: str) -> Any:
    """Return the op `name` as it is called."""
    return getattr(torch.ops.secateur, name).default
