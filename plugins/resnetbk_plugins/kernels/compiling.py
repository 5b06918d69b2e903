"""One line when numba compiles, which else looks like a first step that hangs: only where it really does."""

from __future__ import annotations

import functools
import logging
import threading
from typing import Any

PATIENCE = 1.0
"""Seconds of compiling that are not worth a line."""

ONCE = "numba compiles its kernels, once on this machine: a few seconds for each that is used"
ALWAYS = (
    "numba compiles its kernels, a few seconds for each that is used, and can keep them nowhere for the next "
    "run: set NUMBA_CACHE_DIR to a folder that can be written"
)


@functools.cache
def tell_of_compiling(kernels: Any) -> None:
    """From now on the first compilation that takes longer than PATIENCE is a line of the log. Kernels that
    come from numba's cache are none. `kernels` is a module of numba's dispatchers, `one_sided` among them."""
    from numba.core import event

    line = ONCE if kernels.one_sided.stats.cache_path else ALWAYS
    told = threading.Event()
    waiting: list[threading.Timer] = []

    def tell() -> None:
        if not told.is_set():
            told.set()
            logging.getLogger("resnetbk").warning(line)

    class Listener(event.Listener):
        def on_start(self, _: Any) -> None:
            waiting.append(threading.Timer(PATIENCE, tell))
            waiting[-1].daemon = True
            waiting[-1].start()

        def on_end(self, _: Any) -> None:
            waiting.pop().cancel()

    event.register("numba:compile", Listener())
