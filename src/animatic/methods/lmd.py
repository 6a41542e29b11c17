"""LMD, LLM-grounded Diffusion: objects are generated one by one, then composited under an energy.

Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion.
"""

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
ITERATIONS = (4,) * 5 + (3,) * 5 + (2,) * 10 + (1,)
SETTINGS = {
    "mini": Energy((), BoxEnergy(), layers=("*",), scale=30, until=0.4, iterations=3),
}  # tuned on 24 stills, docs/LOG.md
ANY = Energy(
    (), BoxEnergy(inside=0.2, outside=0.2), layers=LAYERS, scale=5, until=0.6, iterations=ITERATIONS, threshold=5
)
TRANSFER = 2.0
SAM_LAYERS = ("down_blocks.2.attentions.1.transformer_blocks.0.attn2",)  # whose attention prompts SAM in LMD


def heads(backbone: Backbone, globs: Sequence[str]) -> float:
    """Mean number of attention heads of the layers that match `globs`; 8, Stable Diffusion's, where none does."""
    network = getattr(backbone, "unet", None)
    modules = network.named_modules() if network is not None else ()
    counts = [module.heads for name, module in modules if hasattr(module, "heads") and matches_any(name, globs)]
    return sum(counts) / len(counts) if counts else 8


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
    """The weight of attention transfer, relative to an energy that is a mean over heads."""
    return TRANSFER if backbone.family in SETTINGS else TRANSFER / heads(backbone, ANY.layers)


def sam_layers(backbone: Backbone) -> tuple[str, ...]:
    """The layers whose attention prompts Segment Anything; none where the energy's own serve, or there are no such."""
    tuned = backbone.family in SETTINGS
    return () if tuned or not has_layers(backbone, SAM_LAYERS) else SAM_LAYERS


def whole(backbone: Backbone, scenes: Sequence[Scene]) -> Energy:
    """The energy of the composited scenes.

    Where LMD's schedule of iterations is not used it has one at each level, as the objects are in their places.
    """
    energy = replace(settings(backbone), scenes=scenes)
    return replace(energy, iterations=1) if isinstance(energy.iterations, int) else energy


def mask_layers(mask: Masking | None, backbone: Backbone) -> tuple[str, ...]:
    """The layers whose attention makes the masks; (): those of the energy."""
    return sam_layers(backbone) if isinstance(mask, SamMask) else ()


@worded(listing_objects)
def lmd(scenes: Sequence[Scene], backbone: Backbone, guidance: float, mask: Masking | None = None) -> list[Control]:
    """Objects generated one by one under an energy, composited into their boxes and held there; no training."""
    composition = Composition(
        scenes,
        energy=whole(backbone, scenes),
        object_controls=(Guidance(guidance), settings(backbone)),
        mask=mask or AttentionMask(),
        mask_layers=mask_layers(mask, backbone),
        transfer=transfer(backbone),
        negative=LMD_OBJECT,
    )
    return [Guidance(guidance), composition]


@worded(listing_objects)
def lmd_plus(
    scenes: Sequence[Scene], backbone: Backbone, guidance: float, mask: Masking | None = None
) -> list[Control]:
    """LMD on a model that is conditioned on boxes (GLIGEN): objects are generated in their places."""
    until = beta(backbone)
    composition = Composition(
        scenes,
        energy=whole(backbone, scenes),
        object_controls=(Guidance(guidance), Gligen((), until)),
        mask=mask or AttentionMask(),
        mask_layers=mask_layers(mask, backbone),
        centre=False,
        blend=0.1,
        transfer=transfer(backbone),
        negative=LMD_OBJECT,
    )
    return [Guidance(guidance), composition, Gligen(scenes, until)]


@worded(listing_objects)
def lmd_sam(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LMD with objects cut out by Segment Anything, as published (Kirillov et al. 2023, arXiv 2304.02643)."""
    return lmd(scenes, backbone, guidance, SamMask(point=True))


@worded(listing_objects)
def lmd_plus_sam(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LMD+ with objects cut out by Segment Anything, as published (Kirillov et al. 2023, arXiv 2304.02643)."""
    return lmd_plus(scenes, backbone, guidance, SamMask())
