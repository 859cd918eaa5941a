"""How JAX is used here: precision, and which replicas run together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np


@contextlib.contextmanager
def precision(dtype: Any) -> Iterator[None]:
    """Within it JAX computes in `dtype`, whatever the user's configuration, which stays as it is.

    Holds for one thread. Also pins what random numbers and products of matrices depend on.
    """
    with (
        jax.enable_x64(np.dtype(dtype) == np.float64),
        jax.threefry_partitionable(True),
        jax.default_matmul_precision("highest"),  # no TF32 on a GPU
    ):
        yield


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def groups(replicas: int) -> Sequence[int | slice]:
    """Which replicas run in one call: on an accelerator all of them, on a CPU each by itself.

    On a CPU `vmap` turns the products of a step into batched ones, which run 1.5-2 times slower
    than one replica after the other, whose parameters stay in cache. Calls release the
    interpreter's lock, so that plain threads keep all cores busy. (Splitting the replicas over
    several host devices is no faster, and needs JAX configured before its first use.)
    """
    return [slice(0, replicas)] if jax.default_backend() != "cpu" else list(range(replicas))


def compiled(
    build: Callable[..., Callable[..., Any]], *parts: Any, consumes: tuple[int, ...] = ()
) -> Any:
    """jax.jit of build(*parts), kept for the next call where all the parts are hashable.

    consumes: arguments whose memory the result takes over. For large states memory that the system
    has to hand out afresh at every call costs as much as many steps.
    """
    try:
        return _kept(build, consumes, *parts)
    except TypeError:
        return jax.jit(build(*parts), donate_argnums=consumes)


@lru_cache(maxsize=64)
def _kept(
    build: Callable[..., Callable[..., Any]], consumes: tuple[int, ...], *parts: Hashable
) -> Any:
    return jax.jit(build(*parts), donate_argnums=consumes)
