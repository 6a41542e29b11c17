"""LMD: LLM-grounded Diffusion (Lian et al. 2023). Things are made one by one, then composed under an energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..controls.composition import Composition
from ..controls.energy import Energy
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.masks import AttentionMask, Masking, SamMask
from ..controls.terms import BoxEnergy
from ..core.attention import matches_any
from ..core.backbone import Backbone
from ..core.control import Control
from ..prompting.negatives import LMD_OBJECT
from ..prompting.styles import listing_objects, worded
from ..scene import Scene
from .lvd import beta

# 8 x 8 and 16 x 16 in Stable Diffusion at 512; LMD's sums over heads are means here: with 8 heads, as in Stable
# Diffusion 1, scale 5 * 8, threshold 5 / 8, and attention transfer, which is a mean over heads there too, 2 / 8
LAYERS = ("mid_block.attentions.0.transformer_blocks.0.attn2", "up_blocks.1.attentions.*.transformer_blocks.0.attn2")
ITERS = (4,) * 5 + (3,) * 5 + (2,) * 10 + (1,)
SETTINGS = {"mini": Energy((), BoxEnergy(), ("*",), 30, 0.4, 3)}  # tuned on 24 stills, docs/LOG.md
ANY = Energy((), BoxEnergy(0.2, 0.2), LAYERS, 5, 0.6, ITERS, 5)
TRANSFER = 2.0
SAM_LAYERS = ("down_blocks.2.attentions.1.transformer_blocks.0.attn2",)  # where LMD looks for what to ask SAM


def heads(backbone: Backbone, sites: Sequence[str]) -> float:
    """Mean number of attention heads of the layers at `sites`."""
    network = getattr(backbone, "unet", None)
    layers = network.named_modules() if network is not None else ()
    found = [layer.heads for name, layer in layers if hasattr(layer, "heads") and matches_any(name, sites)]
    return sum(found) / len(found) if found else 8


def has_layers(backbone: Backbone, layers: Sequence[str]) -> bool:
    """Whether the network has any of `layers` (globs)."""
    network = getattr(backbone, "unet", None)
    return network is not None and any(matches_any(name, layers) for name, _ in network.named_modules())


def settings(backbone: Backbone) -> Energy:
    """The energy as it is used on a model, without scenes."""
    if backbone.family in SETTINGS:
        return SETTINGS[backbone.family]
    n = heads(backbone, ANY.layers)
    return replace(ANY, scale=ANY.scale * n, threshold=ANY.threshold / n)


def transfer(backbone: Backbone) -> float:
    """The weight of attention transfer beside an energy that is a mean over heads."""
    return TRANSFER if backbone.family in SETTINGS else TRANSFER / heads(backbone, ANY.layers)


def sam_layers(backbone: Backbone) -> tuple[str, ...]:
    """The layers whose attention prompts Segment Anything; none where the energy's own serve, or there are no such."""
    tuned = backbone.family in SETTINGS
    return () if tuned or not has_layers(backbone, SAM_LAYERS) else SAM_LAYERS


def whole(backbone: Backbone, scenes: Sequence[Scene]) -> Energy:
    """Of the composed scenes: once a step at most where LMD's schedule is not used, for their things are in place."""
    how = replace(settings(backbone), scenes=scenes)
    return replace(how, iterations=1) if isinstance(how.iterations, int) else how


@worded(listing_objects)
def lmd(scenes: Sequence[Scene], backbone: Backbone, guidance: float, mask: Masking | None = None) -> list[Control]:
    """Things made one by one under an energy, moved to their boxes and held there; no training."""
    how = settings(backbone)
    composition = Composition(
        scenes, whole(backbone, scenes), (Guidance(guidance), how),
        mask=mask or AttentionMask(), mask_layers=sam_layers(backbone) if isinstance(mask, SamMask) else (),
        transfer=transfer(backbone), negative=LMD_OBJECT,
    )  # fmt: skip
    return [Guidance(guidance), composition]


@worded(listing_objects)
def lmd_plus(
    scenes: Sequence[Scene], backbone: Backbone, guidance: float, mask: Masking | None = None
) -> list[Control]:
    """LMD on a model that is told the boxes: things are made in their places."""
    told = beta(backbone)
    composition = Composition(
        scenes, whole(backbone, scenes), (Guidance(guidance), Gligen((), told)),
        mask=mask or AttentionMask(), mask_layers=sam_layers(backbone) if isinstance(mask, SamMask) else (), centre=False,
        blend=0.1, transfer=transfer(backbone), negative=LMD_OBJECT,
    )  # fmt: skip
    return [Guidance(guidance), composition, Gligen(scenes, told)]


@worded(listing_objects)
def lmd_sam(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LMD with things cut out by Segment Anything, as published."""
    return lmd(scenes, backbone, guidance, SamMask(point=True))


@worded(listing_objects)
def lmd_plus_sam(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LMD+ with things cut out by Segment Anything, as published."""
    return lmd_plus(scenes, backbone, guidance, SamMask())
