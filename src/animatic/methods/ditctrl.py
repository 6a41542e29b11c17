"""DiTCtrl: several prompts, one video, in windows over time that share keys and values.

Cai et al. 2025, arXiv 2412.18597, https://github.com/TencentARC/DiTCtrl. Published for CogVideoX-2B: keys and values
are shared in the last five of 30 layers, in steps 2 to 24 of 50. Other transformers share in the last sixth of their
layers, UNets in the self-attention of their up blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.sharing import ShareKV
from ..controls.windows import Source, Windows
from ..core.backbone import Backbone
from ..core.control import Control
from ..core.types import Step
from ..scene import Scene
from ..timeline import Timeline
from .lvd import beta, lvd

ONE_IN = 6  # one in so many layers of a transformer shares: 5 of 30


def sharing_layers(backbone: Backbone) -> tuple[str, ...]:
    """Globs of the layers that share: a transformer's last blocks, the self-attention of a UNet's up blocks."""
    blocks = list(backbone.chain(Step(0, 1, 0.0)))
    if not blocks:
        return ("up_blocks.*.attn1",)
    count = max(1, len(blocks) // ONE_IN)
    return tuple(f"{block}.attn1" for block in blocks[-count:])


def in_time(
    scenes: Sequence[Scene], backbone: Backbone, source: Source = "previous", masked: bool = False
) -> list[Control]:
    """Windows over stories that share keys and values; no controls for single scenes, which fit in one window."""
    timelines = [scene for scene in scenes if isinstance(scene, Timeline)]
    if not timelines:
        return []
    share_kv = ShareKV(sharing_layers(backbone), object_scenes=timelines if masked else None)
    return [Windows(timelines, source=source), share_kv]


def ditctrl(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Consecutive scenes in windows over time, each attending to the keys and values of the one before."""
    return [Guidance(guidance), *in_time(scenes, backbone)]


def masked(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """The same by masks: objects attend to the objects of the window before, the background to its background."""
    return [Guidance(guidance), *in_time(scenes, backbone, masked=True)]


def chained(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Consecutive scenes, each window attending to the one before as that was with shared keys and values."""
    return [Guidance(guidance), *in_time(scenes, backbone, "chained")]


def with_lvd(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """DiTCtrl's windows, and boxes over time by LVD's energy of the text attention."""
    return [*lvd(scenes, backbone, guidance), *in_time(scenes, backbone)]


def with_gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """DiTCtrl's windows, and conditioning on boxes, for models that were trained with them (GLIGEN)."""
    return [*ditctrl(scenes, backbone, guidance), Gligen(scenes, beta(backbone))]
