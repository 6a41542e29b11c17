"""DiTCtrl (Cai et al. 2025): several prompts, one video. Windows in time that look at what was shown before.

Published for CogVideoX-2B: keys and values are shared in the last five of 30 layers, in steps 2 to 24 of 50. Elsewhere
the last sixth of the layers stands for them; in UNets the self-attention of the last blocks.
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

PART = 6  # the share of the layers that share: 5 of 30


def sharing_layers(backbone: Backbone) -> tuple[str, ...]:
    """Globs of the layers that share: the last of a transformer's, the self-attention on the way up of a UNet's."""
    names = list(backbone.chain(Step(0, 1, 0.0)))
    if names:
        return tuple(f"{name}.attn1" for name in names[-max(1, len(names) // PART) :])
    return ("up_blocks.*.attn1",)


def in_time(
    scenes: Sequence[Scene], backbone: Backbone, source: Source = "previous", masked: bool = False
) -> list[Control]:
    """Windows over stories, and what they share; nothing for scenes that are seen at once."""
    reels = [scene for scene in scenes if isinstance(scene, Timeline)]
    if not reels:
        return []
    share = ShareKV(sharing_layers(backbone), object_scenes=reels if masked else None)
    return [Windows(reels, source=source), share]


def ditctrl(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Scenes in a row, each window looking at what the one before it shows."""
    return [Guidance(guidance), *in_time(scenes, backbone)]


def masked(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """The same with things looking at things, and the rest at the rest."""
    return [Guidance(guidance), *in_time(scenes, backbone, masked=True)]


def chained(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Scenes in a row, each window looking once at what the one before it looked like with looking."""
    return [Guidance(guidance), *in_time(scenes, backbone, "chained")]


def with_lvd(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Scenes in a row that share, and boxes over time through an energy."""
    return [*lvd(scenes, backbone, guidance), *in_time(scenes, backbone)]


def with_gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Scenes in a row that share, and boxes told to a model that was trained to read them."""
    return [*ditctrl(scenes, backbone, guidance), Gligen(scenes, beta(backbone))]
