"""Libraries kept quiet around our own calls, and as they were for everybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import diffusers
import transformers


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' bars and warnings: what they would warn of is checked by who calls."""
    libraries = [module.utils.logging for module in (diffusers, transformers)]
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in libraries]
    for log in libraries:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, (verbosity, bar) in zip(libraries, before, strict=True):
            log.set_verbosity(verbosity)
            if bar:
                log.enable_progress_bar()
