"""Out of memory, said as the knob to turn."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from edge.errors import SmartbinError
from trainer.recipe import Recipe

# What torch says where it raises a plain RuntimeError: the CPU allocator, oneDNN, cuDNN and NCCL.
SIGNS = ("can't allocate memory", "not enough memory", "could not create a memory", "out of memory")

# Of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory(pad_mb: int = 256) -> bool:
    """Have the C library keep what a step frees for the next step; false where it is not glibc.

    By default it gives large tensors back to the kernel at every step and takes them again, page
    by page: see docs/training.md for what that cost. The process stays as large as its peak.
    """
    try:
        libc = ctypes.CDLL(None)
        wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, pad_mb * 2**20))
        return all(libc.mallopt(name, value) == 1 for name, value in wanted)
    except (OSError, AttributeError):
        return False


def is_memory(error: BaseException) -> bool:
    """True for every way in which Python and torch say that there is no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


@contextmanager
def memory_advice(recipe: Recipe) -> Iterator[None]:
    """Raises SmartbinError with the settings that need less, in the order of their worth."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        batch, size_px = recipe.training.batch, recipe.network.size_px
        raise SmartbinError(
            f"out of memory with training.batch = {batch} and network.size_px = {size_px}; try "
            f"--set training.batch={max(2, batch // 2)}, then --set network.size_px="
            f"{max(32, size_px * 3 // 4 // 32 * 32)}, then a smaller network.family; the last "
            "whole epoch is kept, but another recipe needs another --run"
        ) from error
