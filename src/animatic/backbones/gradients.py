"""Accelerations under which hooks are skipped or gradients are wrong without an error: found, so as to be refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

# diffusers hooks that leave a network's arithmetic as it is; all others return cached outputs or cast weights
FAITHFUL = {
    "peft_autocast_disable",
    "group_offloading",
    "layer_execution_tracker",
    "lazy_prefetch_group_offloading",
}


def incompatible_with_gradients(network: nn.Module) -> str:
    """The acceleration in use that gives guided passes wrong gradients, and why; "" where there is none.

    Measured on diffusers 0.42 and torch 2.13: pyramid attention broadcast reuses the outputs of the guided batch
    of one for a batch of two, first-block caching and MagCache skip the later layers, inductor's gradient with respect
    to the latents was off by 0.6 to 0.8 of its norm on a CPU; layerwise casting leaves weights of the wrong type for
    backward.
    """
    for module in network.modules():
        own = vars(module)  # fast: `getattr` of a missing attribute is slow on modules
        if own.get("_compiled_call_impl") is not None or "_orig_mod" in module._modules:
            return "torch.compile, whose gradient is not to be trusted here"

        # Quantised weights alone are fine: they are constants.
        weight_class = type(module._parameters.get("weight")).__name__
        if "quantized" in type(module).__module__ or "ActivationQuantized" in weight_class:
            return "quantised activations, through which no gradient goes"

        registry = own.get("_diffusers_hook")
        unsafe = sorted(set(registry.hooks) - FAITHFUL) if registry is not None else []
        if unsafe:
            return f"the hook {unsafe[0]!r}, which caches, skips or recasts what the gradient needs"
    return ""


@contextmanager
def without_gradients(network: nn.Module) -> Iterator[None]:
    """The weights as constants meanwhile: backward to the latents then keeps nothing for them."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
