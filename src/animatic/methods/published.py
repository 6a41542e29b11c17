"""The methods as published: the arithmetic and the numbers of the originals' own code, to compare with their tables.

Energies are sums over heads and frames, whatever a network has of both, and a row that once fell under its threshold
is never judged again. Boxes are rounded, and moved between key frames, by the originals' rules; texts are worded as
theirs. docs/published.md says number by number what the plain names do instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..controls.boxdiff import BoxDiff
from ..controls.composition import Composition
from ..controls.energy import Energy, LinearDecay
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance, WaveGuidance, ZeroNegative
from ..controls.masks import Masking, SamMask
from ..controls.regions import Regions
from ..controls.terms import BoxEnergy, Ratio
from ..core.backbone import Backbone
from ..core.control import Control
from ..planning.boxes import scaled_to_canvas
from ..prompting.negatives import LMD_OBJECT, MULTIDIFFUSION_BACKGROUND, MULTIDIFFUSION_OBJECT
from ..prompting.styles import as_typed, listing_objects_published, with_background_published, worded
from ..scene import Scene
from ..timeline import Timeline, WindowLayout
from .baselines import ANY_BOXDIFF, MULTIDIFFUSION_GUIDANCE, README_BOOTSTRAP
from .baselines import BOXDIFF as PLAIN_BOXDIFF
from .ditctrl import in_time
from .lmd import ITERS, TRANSFER, sam_layers
from .lmd import settings as lmd_settings
from .lvd import README_BETA
from .lvd import settings as lvd_settings
from .usage import Usage, used

# LVD generation/lvd.py, `run`: 10 of 40 steps; README: the weak setting of each model, and the benchmark's 0.03
LVD = Energy(
    (), BoxEnergy(legacy=True), scale=5.0, until=0.25, iterations=5, threshold=200.0, legacy=True, separate_objects=True
)
LVD_WEAK = replace(
    LVD, terms=BoxEnergy(0.25, 0.25, background=2, legacy=True), scale=2.5, iterations=1, threshold=250.0
)
LVD_WEAK_ZEROSCOPE = replace(LVD_WEAK, threshold=350.0)
LVD_BENCHMARK = replace(LVD, terms=BoxEnergy(centre=0.03, legacy=True))
LVD_PLUS_BETA = 1.0  # generation/lvd_plus.py; LVD-GLIGEN's README says 0.4

# LMD generation/{lmd,backward_guidance,boxdiff}.py, `run`: 30, 10 and 25 of 50 steps
LMD = Energy((), BoxEnergy(0.2, 0.2, legacy=True), scale=5.0, until=0.6, iterations=ITERS, threshold=5.0, legacy=True)
BACKWARD = Energy((), Ratio(least=0.0, legacy=True), scale=30.0, until=0.2, iterations=5, threshold=0.2, legacy=True)
BOXDIFF = Energy((), BoxDiff(legacy=True), scale=20.0, until=0.5, iterations=1, step_size=LinearDecay(), legacy=True)


@worded(with_background_published)
def lvd(scenes: Sequence[Scene], backbone: Backbone, guidance: float, energy: Energy = LVD) -> list[Control]:
    """LVD as published."""
    return [Guidance(guidance), replace(energy, scenes=scenes, layers=lvd_settings(backbone, scenes).layers)]


@worded(with_background_published)
def lvd_weak(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD's README's setting for looks as published: the threshold is 350 on Zeroscope, 250 elsewhere."""
    return lvd(scenes, backbone, guidance, LVD_WEAK_ZEROSCOPE if backbone.family == "zeroscope" else LVD_WEAK)


@worded(with_background_published)
def lvd_benchmark(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD's setting for its benchmark as published: centres of mass in cells, weighted 0.03."""
    return lvd(scenes, backbone, guidance, LVD_BENCHMARK)


@worded(with_background_published)
def lvd_gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD-GLIGEN as published: boxes between key frames by LVD's rule."""
    return [Guidance(guidance), Gligen(scenes, README_BETA, legacy=True)]


@worded(with_background_published)
def lvd_plus(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD+ as published: boxes are told at every noise level, but not in the guided passes."""
    return [*lvd(scenes, backbone, guidance), Gligen(scenes, LVD_PLUS_BETA, guided="no word", legacy=True)]


@worded(listing_objects_published)
def lmd(scenes: Sequence[Scene], backbone: Backbone, guidance: float, mask: Masking | None = None) -> list[Control]:
    """LMD as published: things are cut out by Segment Anything, asked with the point of most attention."""
    how = _on_lmds_layers(LMD, backbone)
    composition = Composition(
        scenes, replace(how, scenes=scenes), (Guidance(guidance), how),
        mask=mask or SamMask(point=True, legacy=True), mask_layers=sam_layers(backbone), negative=LMD_OBJECT,
        transfer=TRANSFER, legacy=True,
    )  # fmt: skip
    return [Guidance(guidance), composition]


@worded(listing_objects_published)
def lmd_plus(
    scenes: Sequence[Scene], backbone: Backbone, guidance: float, mask: Masking | None = None
) -> list[Control]:
    """LMD+ as published: of the boxes its guided passes are told nothing, and things of one name are told as one."""
    how = replace(_on_lmds_layers(LMD, backbone), scenes=scenes)
    composition = Composition(
        scenes, how, (Guidance(guidance), Gligen((), README_BETA, legacy=True)),
        mask=mask or SamMask(legacy=True), mask_layers=sam_layers(backbone), centre=False, blend=0.1,
        negative=LMD_OBJECT, transfer=TRANSFER, legacy=True,
    )  # fmt: skip
    told = Gligen(scenes, README_BETA, guided="nothing", legacy=True, naming="phrase")
    return [Guidance(guidance), composition, told]


@worded(listing_objects_published)
def gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """GLIGEN as LMD ran it (generation/gligen.py): beside its box an object is told as the prompt of itself alone."""
    return [Guidance(guidance), Gligen(scenes, README_BETA, legacy=True, naming="prompt")]


@worded(listing_objects_published)
def backward_guidance(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Backward guidance as LMD ran it: never again once under its threshold."""
    return [Guidance(guidance), replace(_on_lmds_layers(BACKWARD, backbone), scenes=scenes)]


@worded(listing_objects_published)
def boxdiff(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """BoxDiff as LMD ran it: a sum over tokens, with the edges of every box."""
    sites = PLAIN_BOXDIFF.get(backbone.family, ANY_BOXDIFF).layers
    return [Guidance(guidance), replace(BOXDIFF, scenes=scenes, layers=sites)]


@worded(as_typed)
def multidiffusion(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """MultiDiffusion as LMD ran it: an object sees one of 10 colours around it in 10 of 50 steps, at guidance 10.

    The boxes are scaled to fill the picture, whether LMD's own runs are told to scale boxes or not.
    """
    scenes = [
        scaled_to_canvas(scene) if isinstance(scene, Scene) else scene for scene in scenes
    ]  # a story is refused later
    regions = Regions(scenes, README_BOOTSTRAP, MULTIDIFFUSION_OBJECT, MULTIDIFFUSION_BACKGROUND, legacy=True)
    return [regions, Guidance(guidance)]


def _strong(backbone: Backbone) -> float:
    return MULTIDIFFUSION_GUIDANCE


multidiffusion.guidance = _strong  # pyright: ignore[reportFunctionMemberAccess]


@used(Usage("sat-dpm++", WindowLayout(overlap=9 / 13, transitions=2, by_count=True), reweights_as_published=True))
@worded(as_typed)
def ditctrl(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """DiTCtrl as its released script runs it: windows by the number of prompts, each looking at the one before."""
    # without a negative prompt the unconditional rows are no encoded text but zeros
    parts = [part for scene in scenes for part in (scene.scenes if isinstance(scene, Timeline) else (scene,))]
    nothing = not any(backbone.defaults.negative_text(part.negative) for part in parts)
    return [WaveGuidance(guidance), *([ZeroNegative()] if nothing else []), *in_time(scenes, backbone)]


def _on_lmds_layers(energy: Energy, backbone: Backbone) -> Energy:
    """The energy on LMD's layers; on all of the toy world's models."""
    return replace(energy, layers=lmd_settings(backbone).layers)
