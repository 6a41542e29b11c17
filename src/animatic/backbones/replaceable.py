"""Which attention processors of diffusers the hooks stand in for: those of plain attention, computed in any way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import AnimaticError

# They differ in the kernel alone; the hooks compute with torch's scaled dot product.
PLAIN = frozenset({
    "AttnProcessor", "AttnProcessor2_0", "SlicedAttnProcessor", "XFormersAttnProcessor", "AttnProcessorNPU",
    "XLAFlashAttnProcessor2_0", "CogVideoXAttnProcessor2_0", "WanAttnProcessor", "WanAttnProcessor2_0",
    "HunyuanVideo15AttnProcessor2_0",
    "JointAttnProcessor2_0", "XFormersJointAttnProcessor",
    "LTXVideoAttnProcessor",
})  # fmt: skip

# What a name holds, why it cannot be replaced, and what takes it out of a pipeline.
REFUSED = {
    "IPAdapter": ("reads the picture of an IP-Adapter, which no control passes on", "pipe.unload_ip_adapter()"),
    "Fused": ("computes fused projections", "pipe.unfuse_qkv_projections()"),
}


def check_replaceable(processors: Mapping[str, Any]) -> None:
    """Raise `AnimaticError` where a processor computes something else than plain attention.

    `processors` are those of a network by layer. Those of GLIGEN's grounding layers are not replaced.
    """
    for layer, processor in processors.items():
        name = type(processor).__name__
        if ".fuser." in layer or name in PLAIN:
            continue

        # Any other is somebody's own: what it computes is not known here.
        reason, remedy = "is not plain attention", "set_attn_processor(...) with a stock one"
        for part, known in REFUSED.items():
            if part in name:
                reason, remedy = known
        place = layer.removesuffix(".processor")
        raise AnimaticError(f"attention processor {name} of {place} {reason}; want it taken out: {remedy}")
