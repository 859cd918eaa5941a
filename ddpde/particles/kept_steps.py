"""Compiled steps, kept from one process to the next."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from ddpde.comm import log

_MISS = "/jax/compilation_cache/cache_misses"


@cache
def keep_compiled() -> Path | None:
    """Have JAX keep what it compiles from now on, for later processes; returns the folder.

    That is `JAX_COMPILATION_CACHE_DIR`, or JAX's setting of that name, where one is given, else
    `$XDG_CACHE_HOME/ddpde` or `~/.cache/ddpde`; None, and nothing changes, where neither can be
    written. Settings of JAX's cache that you have made stay as they are. The first compilation of
    this process is logged, with the folder.
    """
    settings = jax.config
    folder = settings.jax_compilation_cache_dir or _folder()
    if folder is None:
        return None
    settings.update("jax_compilation_cache_dir", folder)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        settings.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    reset_cache()  # JAX looks for a cache once, as it first compiles
    news = [folder]

    def missed(event: str, **_: object) -> None:
        if event == _MISS and news:
            log.info("steps of particles have been compiled, and are kept in %s", news.pop())

    jax.monitoring.register_event_listener(missed)
    return Path(folder)


def _folder() -> str | None:
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = next((p for p in (Path(caches), *Path(caches).parents) if p.exists()), None)
    writable = Path(caches).is_absolute() and place is not None and os.access(place, os.W_OK)
    return str(Path(caches) / "ddpde") if writable else None
