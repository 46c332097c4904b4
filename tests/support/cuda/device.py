"""Runs a kernel by its name on a real GPU, on CUDA tensors, through the C functions of _C_cuda."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from tests.support.cuda import structs
from tests.support.cuda.library import Library


class Device(Library):
    """The library that nvcc built, on the current CUDA device and stream."""

    def launch(self, name: str, fields: dict[str, Tensor | int | float | None]) -> None:
        """Run kernel `name` and wait for it; its outputs are written in place.

        Args:
            name: of the kernel, <op>_<file>.
            fields: of the op's struct; tensors on the GPU. Pointers left out are null, numbers 0,
                and a `workspace` left out is made, of zeros, as large as the kernel asks.

        Raises:
            ValueError: if the kernel refuses, with its reason.
            RuntimeError: if the launch returns an error, or the kernel dies.
        """
        struct = structs.args_of(self.kernel(name).op)
        args = struct()
        for field, value in fields.items():
            if isinstance(value, Tensor):
                setattr(args, field, ctypes.c_void_p(value.data_ptr()))
            elif value is not None:
                setattr(args, field, value)
        why = self.refusal(name, args)
        if why:
            raise ValueError(f"{name} refuses: {why}")
        wanted = self.workspace(name, args)
        workspace = None
        if wanted and fields.get("workspace") is None:
            workspace = torch.zeros(wanted, dtype=torch.uint8, device="cuda")
            args.workspace = ctypes.c_void_p(workspace.data_ptr())
        error = self.run(name, args, torch.cuda.current_stream().cuda_stream)
        if error:
            raise RuntimeError(f"{name}: CUDA error {error}")
        torch.cuda.synchronize()
