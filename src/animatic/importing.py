"""Libraries imported without needless passes of the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Within this context Python does not look for unreachable objects.

    torch, transformers and diffusers define some million objects, all of which stay: each pass over them finds nothing,
    and together the passes are a quarter of the time that the imports take.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # all that is new becomes old, which is looked at seldom; what somebody else froze stays so
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()
