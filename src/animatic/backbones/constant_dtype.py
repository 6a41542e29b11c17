"""The type of a network's weights, looked up once a run rather than in every pass.

`dtype` of diffusers' models is a property that walks all modules each time, and the models' own forward asks for it:
some 2 % of the CPU time of a small network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


@contextmanager
def constant_dtype(network: nn.Module) -> Iterator[None]:
    """Within this context `network.dtype` is what it is now, without a walk; other networks than diffusers' as ever."""
    own: Any = type(network)
    if not isinstance(network, ModelMixin) or isinstance(network, _Constant):
        yield
        return
    network.__class__ = _with_dtype(own, network.dtype)
    try:
        yield
    finally:
        network.__class__ = own


class _Constant:
    """Marks classes made here: a run inside a run changes nothing."""


@cache
def _with_dtype(own: type[nn.Module], dtype: torch.dtype) -> Any:
    """A subclass of `own`, of the same name, whose `dtype` is a value.

    A property cannot be hidden by an attribute of the network itself. The same subclass every time: compiled code is
    of one class.
    """
    return type(own.__name__, (_Constant, own), {"dtype": dtype, "__module__": own.__module__, "__doc__": own.__doc__})
