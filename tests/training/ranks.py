"""Runs a function in two processes that can talk to each other, and fails if one of them does."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

WORLD = 2


def in_two_processes(work: Callable[..., None], folder: Path, *args: Any) -> None:
    """Call work(rank, *args) in each; they meet in a file, so no port can be taken already."""
    multiprocessing.spawn(_work, args=(work, str(folder / "meet"), args), nprocs=WORLD)


def _work(rank: int, work: Callable[..., None], meet: str, args: tuple[Any, ...]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meet}",
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=60),
    )
    try:
        work(rank, *args)
    finally:
        distributed.destroy_process_group()


def same_everywhere(tensor: torch.Tensor) -> None:
    """Raise unless every process holds the same numbers."""
    parts = [torch.empty_like(tensor) for _ in range(WORLD)]
    distributed.all_gather(parts, tensor.contiguous())
    assert all(torch.equal(part, parts[0]) for part in parts)
