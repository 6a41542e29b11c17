"""Which known model a folder holds, by the configuration of its network and never by the folder's name.

A card `animatic.json` with a `model` or a `family` decides. Without one the entries below do; their values are those of
the published `config.json` files. Fine-tuned models keep the configuration of their base, and are used like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import AnimaticError
from .presets import PRESETS, Preset

VIDEO_UNET = {
    "_class_name": "UNet3DConditionModel",
    "down_block_types": ["CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"],
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"],
    "layers_per_block": 2,
}
IMAGE_UNET = {
    "_class_name": "UNet2DConditionModel",
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "layers_per_block": 2,
    "in_channels": 4,
}
XL_UNET = {
    "_class_name": "UNet2DConditionModel",
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "in_channels": 4,
}
SD3 = {"_class_name": "SD3Transformer2DModel"}
COGVIDEOX, WAN = {"_class_name": "CogVideoXTransformer3DModel"}, {"_class_name": "WanTransformer3DModel"}
HUNYUAN = {"_class_name": "HunyuanVideo15Transformer3DModel", "num_layers": 54, "num_attention_heads": 16}
COGVIDEOX_I2V = {**COGVIDEOX, "num_layers": 42, "num_attention_heads": 48, "in_channels": 32}
WAN_I2V = {**WAN, "num_layers": 40, "num_attention_heads": 40, "in_channels": 36}

# (facts, the known models that have them all)
KNOWN: tuple[tuple[Mapping[str, Any], tuple[str, ...]], ...] = (
    ({**VIDEO_UNET, "sample_size": [40, 72]}, ("zeroscope",)),
    ({**VIDEO_UNET, "sample_size": [72, 128]}, ("zeroscope-xl",)),
    (
        {**VIDEO_UNET, "_library": "models.unet_3d_condition"},
        ("zeroscope", "zeroscope-xl"),
    ),  # as their model_index.json says
    (VIDEO_UNET, ("modelscope", "zeroscope")),  # ModelScope's layout at any width; Zeroscope is a fine-tuned ModelScope
    ({**IMAGE_UNET, "cross_attention_dim": 768}, ("sd15",)),
    ({**IMAGE_UNET, "cross_attention_dim": 1024}, ("sd21",)),
    ({"_class_name": "UNet2DConditionModel", "in_channels": 7, "num_class_embeds": 1000}, ("sd-x4",)),
    ({"_class_name": "UNet2DConditionModel", "block_out_channels": [384, 768, 1536, 1536]}, ("sdxl-refiner",)),
    ({**XL_UNET, "cross_attention_dim": 2048}, ("sdxl",)),
    ({**SD3, "num_layers": 24, "num_attention_heads": 24, "pos_embed_max_size": 384}, ("sd3.5-medium",)),
    ({**SD3, "num_layers": 38, "num_attention_heads": 38}, ("sd3.5-large",)),
    ({**COGVIDEOX, "num_layers": 30, "num_attention_heads": 30}, ("cogvideox-2b",)),
    ({**COGVIDEOX_I2V, "patch_size_t": None}, ("cogvideox-5b-i2v",)),
    ({**COGVIDEOX_I2V, "patch_size_t": 2}, ("cogvideox1.5-5b-i2v",)),
    ({**COGVIDEOX, "num_layers": 42, "num_attention_heads": 48, "patch_size_t": None}, ("cogvideox-5b",)),
    ({**COGVIDEOX, "num_layers": 42, "num_attention_heads": 48, "patch_size_t": 2}, ("cogvideox1.5-5b",)),
    ({"_class_name": "LTXVideoTransformer3DModel", "num_layers": 28}, ("ltx-video",)),
    ({**WAN, "num_layers": 30, "num_attention_heads": 12}, ("wan2.1-1.3b",)),
    ({**WAN, "num_layers": 30, "num_attention_heads": 24, "in_channels": 48}, ("wan2.2-5b",)),
    ({**WAN_I2V, "image_dim": 1280}, ("wan2.1-i2v-14b-480p", "wan2.1-i2v-14b-720p")),
    ({**WAN_I2V, "image_dim": None}, ("wan2.2-i2v-a14b",)),
    ({**WAN, "num_layers": 40, "num_attention_heads": 40, "_networks": 2}, ("wan2.2-a14b",)),
    ({**WAN, "num_layers": 40, "num_attention_heads": 40}, ("wan2.1-14b",)),
    ({**HUNYUAN, "target_size": 640}, ("hunyuanvideo1.5-480p",)),
    ({**HUNYUAN, "target_size": 960}, ("hunyuanvideo1.5-720p",)),
)

# sample_size that fine-tuning left as it was in ModelScope's config, though it taught another size
INHERITED = {"zeroscope": 32, "zeroscope-xl": 32}


def known_by_card(folder: Path, card: Mapping[str, Any]) -> Preset | None:
    """The known model that a folder's card names, by `model` or else by `family`; None for the family "", or none.

    Raises `AnimaticError` where the card names a model or family that does not exist.
    """
    if "model" in card:
        if card["model"] not in tuple(PRESETS):
            raise AnimaticError(f"{folder}/animatic.json: model is {card['model']!r}; want one of {', '.join(PRESETS)}")
        return PRESETS[card["model"]]

    # Of several models of a family the first one listed stands for it: dict keys keep the last value.
    families = {preset.family: preset for preset in reversed(PRESETS.values()) if preset.family}
    family = card.get("family", "")
    if family not in ("", *families):
        known = ", ".join(sorted(families))
        raise AnimaticError(f"{folder}/animatic.json: family is {family!r}; want {known} or an empty one")
    return families.get(family)


def known_by_config(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the known models with this configuration, the most likely first; empty where there is none.

    `config` is its `config.json`, with the `_library` that `model_index.json` names for it, and of how many `_networks`
    it is the first.
    """
    for facts, names in KNOWN:
        if all(config.get(key) == value for key, value in facts.items()):
            return names
    return ()
