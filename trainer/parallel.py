"""One training on several GPUs or hosts, started by torchrun; alone it costs nothing.

Every process holds the whole network and sees its share of each batch, so `training.batch` is
that of all together and a run on two processes means what it means on one. Process 0 validates
and writes. BatchNorm: on GPUs its statistics are taken over the whole batch (SyncBatchNorm); on
CPUs, where torch has no such layer, over each process's share, and process 0's are kept.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn

from edge.errors import UsageError


@dataclass(frozen=True, slots=True)
class World:
    """Who takes part; rank 0 of 1 where torchrun did not start this process."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def writes(self) -> bool:
        """True in the one process that validates, writes and talks."""
        return self.rank == 0

    def rows(self, batch: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """This process's share of a batch; all are equally long."""
        return batch[self.rank :: self.size]

    def check_batch(self, batch: int) -> None:
        """Shares must be equal, or the mean of their gradients would not be the batch's."""
        if batch % self.size or batch // self.size < 2:
            nearest = max(2, batch // self.size) * self.size
            raise UsageError(
                f"training.batch = {batch}: must be a multiple of the {self.size} processes and "
                f"at least 2 each; use --set training.batch={nearest}"
            )

    def wrap(self, net: nn.Module) -> nn.Module:
        """The network to call forward on; gradients are averaged behind backward()."""
        if self.size == 1:
            return net
        own = [torch.device(self.device).index or 0] if self.device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(net, device_ids=own)

    def prepared(self, net: nn.Module) -> nn.Module:
        """With BatchNorm over all processes where the device can."""
        if self.size > 1 and self.device.startswith("cuda"):
            return nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-any-return]
        return net

    def from_first(self, value: Any) -> Any:
        """What process 0 has, everywhere."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    @contextmanager
    def first_first(self) -> Iterator[None]:
        """Process 0 does it before the others, as with files that all of them read."""
        if self.size > 1 and not self.writes:
            dist.barrier()
        yield
        if self.size > 1 and self.writes:
            dist.barrier()


ALONE = World()


@contextmanager
def world(device: str) -> Iterator[World]:
    """Join the group that torchrun made; each process gets its own GPU where there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield replace(ALONE, device=device)
        return
    if not dist.is_available():
        raise UsageError("torchrun: this build of torch has no torch.distributed; run one process")
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    # DistributedDataParallel imports it; where a group stands already, it keeps that for ever, and
    # gloo's threads go on into the end of the process, where they now and then abort it.
    importlib.import_module("torch._dynamo")
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
        gc.collect()  # a wrapped network in a cycle of references keeps the group, too
