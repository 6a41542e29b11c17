"""Which known model a folder holds, by the configuration of its network and never by the folder's name.

A card `animatic.json` with a `family` is believed. Without one the facts below decide; the values are those of the
published `config.json` files. Fine-tuned copies keep their configuration, so they are used as their parent is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import AnimaticError, warn
from .presets import PRESETS, Preset

FILM = {
    "_class_name": "UNet3DConditionModel",
    "down_block_types": ["CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"],
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"],
    "layers_per_block": 2,
}
PICTURE = {
    "_class_name": "UNet2DConditionModel",
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "layers_per_block": 2,
    "in_channels": 4,
}
COG, WAN = {"_class_name": "CogVideoXTransformer3DModel"}, {"_class_name": "WanTransformer3DModel"}

# (facts, the known models that have them all); of several the first is assumed, which a warning says
KNOWN: tuple[tuple[Mapping[str, Any], tuple[str, ...]], ...] = (
    ({**FILM, "sample_size": [40, 72]}, ("zeroscope",)),
    ({**FILM, "sample_size": [72, 128]}, ("zeroscope-xl",)),
    (FILM, ("modelscope", "zeroscope")),  # ModelScope's layout at any width; Zeroscope is a fine-tuned ModelScope
    ({**PICTURE, "cross_attention_dim": 768}, ("sd15",)),
    ({**PICTURE, "cross_attention_dim": 1024}, ("sd21",)),
    ({"_class_name": "UNet2DConditionModel", "in_channels": 7, "num_class_embeds": 1000}, ("sd-x4",)),
    ({"_class_name": "UNet2DConditionModel", "block_out_channels": [384, 768, 1536, 1536]}, ("sdxl-refiner",)),
    ({**COG, "num_layers": 30, "num_attention_heads": 30}, ("cogvideox-2b",)),
    ({**COG, "num_layers": 42, "num_attention_heads": 48, "patch_size_t": None}, ("cogvideox-5b",)),
    ({**COG, "num_layers": 42, "num_attention_heads": 48, "patch_size_t": 2}, ("cogvideox1.5-5b",)),
    ({**WAN, "num_layers": 30, "num_attention_heads": 12}, ("wan2.1-1.3b",)),
    ({**WAN, "num_layers": 30, "num_attention_heads": 24, "in_channels": 48}, ("wan2.2-5b",)),
    ({**WAN, "num_layers": 40, "num_attention_heads": 40}, ("wan2.1-14b",)),  # 2.2 A14B is used alike
)


def known_as(folder: Path, card: Mapping[str, Any], config: Mapping[str, Any]) -> Preset | None:
    """The known model whose settings a folder's model takes, or None where it is like none of them.

    `card` is the folder's `animatic.json`, `config` the `config.json` of its network. Raises `AnimaticError` where the
    card names a family that does not exist; warns where the configuration fits several models.
    """
    if "family" in card:
        families = {preset.family: preset for preset in reversed(PRESETS.values()) if preset.family}
        if card["family"] not in ("", *families):
            known = ", ".join(sorted(families))
            raise AnimaticError(f"{folder}/animatic.json: family is {card['family']!r}; want {known} or an empty one")
        return families.get(card["family"])

    for facts, names in KNOWN:
        if all(config.get(name) == value for name, value in facts.items()):
            if names[1:]:
                others = f"{', '.join(names[1:])} has the same configuration"
                hint = f'a file animatic.json with {{"family": "{names[1]}"}} in the folder says otherwise'
                warn(f"{folder}: taken for {names[0]}, though {others}; {hint}")
            return PRESETS[names[0]]
    return None
