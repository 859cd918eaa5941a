"""Replicas spread over MPI ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpde.errors import DdpdeError

if TYPE_CHECKING:
    from mpi4py import MPI


class Ranks:
    """Which of `replicas` are this rank's (`mine`, a slice), and what ranks tell each other."""

    def __init__(self, comm: MPI.Comm | None, replicas: int) -> None:
        self._comm = comm if comm is not None and comm.size > 1 else None
        rank, size = (0, 1) if self._comm is None else (self._comm.rank, self._comm.size)
        ends = [replicas * r // size for r in range(size + 1)]
        self._shares = [slice(a, b) for a, b in pairwise(ends)]
        self._replicas = replicas
        self.mine = self._shares[rank]
        self.first = rank == 0

    @property
    def alone(self) -> bool:
        """One process only."""
        return self._comm is None

    def gather(self, part: np.ndarray) -> np.ndarray:
        """Every rank's replicas (of the first axis), on all ranks."""
        if self._comm is None:
            return part
        shape = max(self._comm.allgather(part.shape[1:]))  # a rank without replicas has none
        whole = np.empty((self._replicas, *shape), part.dtype)
        whole[self.mine] = part.reshape(-1, *shape)
        for root, share in enumerate(self._shares):
            if share.start < share.stop:
                self._comm.Bcast(whole[share], root=root)
        return whole

    def any(self, mine: bool) -> bool:
        """Whether it is true on any rank; the same answer on all."""
        return mine if self._comm is None else any(self._comm.allgather(bool(mine)))

    @contextlib.contextmanager
    def agree(self) -> Iterator[None]:
        """Around work of each rank by itself: an error of one is raised on all."""
        error: DdpdeError | None = None
        try:
            yield
        except DdpdeError as mine:
            if self._comm is None:
                raise
            error = mine
        if self._comm is not None:
            told = None if error is None else (type(error), error.what, error.remedy)
            for other in self._comm.allgather(told):
                if other is not None:
                    kind, what, remedy = other
                    raise kind(what, remedy)

    def together(self, read: Callable[[], Any]) -> Any:
        """read() of rank 0, on all ranks; its errors too."""
        result = None
        with self.agree():
            if self.first:
                result = read()
        return result if self._comm is None else self._comm.bcast(result, root=0)
