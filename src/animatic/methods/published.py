"""The methods as published: the arithmetic and the numbers of the authors' own code, for comparison with their tables.

Energies are sums over heads and frames, whatever a network has of both, and a sample that once fell under its threshold
is never guided again. Boxes are rounded, and interpolated between key frames, by the originals' rules; prompts have
their wording. docs/published.md lists number by number what the plain names do instead.

LVD: arXiv 2309.17444, https://github.com/TonyLianLong/LLM-groundedVideoDiffusion. LMD and the baselines as it runs
them: arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion. DiTCtrl: arXiv 2412.18597,
https://github.com/TencentARC/DiTCtrl.
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
from .lmd import ITERATIONS, TRANSFER, sam_layers
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
LMD = Energy(
    (), BoxEnergy(0.2, 0.2, legacy=True), scale=5.0, until=0.6, iterations=ITERATIONS, threshold=5.0, legacy=True
)
BACKWARD = Energy((), Ratio(least=0.0, legacy=True), scale=30.0, until=0.2, iterations=5, threshold=0.2, legacy=True)
BOXDIFF = Energy((), BoxDiff(legacy=True), scale=20.0, until=0.5, iterations=1, step_size=LinearDecay(), legacy=True)


@worded(with_background_published)
def lvd(scenes: Sequence[Scene], backbone: Backbone, guidance: float, energy: Energy = LVD) -> list[Control]:
    """LVD as published."""
    return [Guidance(guidance), replace(energy, scenes=scenes, layers=lvd_settings(backbone, scenes).layers)]


@worded(with_background_published)
def lvd_weak(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD's README's setting for visual quality as published: the threshold is 350 on Zeroscope, 250 elsewhere."""
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
    """LVD+ as published: conditioned on boxes at every noise level, but not in the passes of the energy."""
    return [*lvd(scenes, backbone, guidance), Gligen(scenes, LVD_PLUS_BETA, guided="no word", legacy=True)]


@worded(listing_objects_published)
def lmd(scenes: Sequence[Scene], backbone: Backbone, guidance: float, mask: Masking | None = None) -> list[Control]:
    """LMD as published: objects are cut out by Segment Anything, prompted with the point of highest attention."""
    energy = _on_lmds_layers(LMD, backbone)
    composition = Composition(
        scenes,
        energy=replace(energy, scenes=scenes),
        object_controls=(Guidance(guidance), energy),
        mask=mask or SamMask(point=True, legacy=True),
        mask_layers=sam_layers(backbone),
        negative=LMD_OBJECT,
        transfer=TRANSFER,
        legacy=True,
    )
    return [Guidance(guidance), composition]


@worded(listing_objects_published)
def lmd_plus(
    scenes: Sequence[Scene], backbone: Backbone, guidance: float, mask: Masking | None = None
) -> list[Control]:
    """LMD+ as published: no boxes in the passes of the energy, and objects of one name have one phrase for all.

    "two cats" stands beside each of their boxes, not "a cat".
    """
    composition = Composition(
        scenes,
        energy=replace(_on_lmds_layers(LMD, backbone), scenes=scenes),
        object_controls=(Guidance(guidance), Gligen((), README_BETA, legacy=True)),
        mask=mask or SamMask(legacy=True),
        mask_layers=sam_layers(backbone),
        centre=False,
        blend=0.1,
        negative=LMD_OBJECT,
        transfer=TRANSFER,
        legacy=True,
    )
    grounding = Gligen(scenes, README_BETA, guided="nothing", legacy=True, naming="phrase")
    return [Guidance(guidance), composition, grounding]


@worded(listing_objects_published)
def gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """GLIGEN as LMD ran it (generation/gligen.py): the name of an object is the prompt of an image of it alone."""
    return [Guidance(guidance), Gligen(scenes, README_BETA, legacy=True, naming="prompt")]


@worded(listing_objects_published)
def backward_guidance(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Backward guidance as LMD ran it: a sample once under the threshold is never guided again."""
    return [Guidance(guidance), replace(_on_lmds_layers(BACKWARD, backbone), scenes=scenes)]


@worded(listing_objects_published)
def boxdiff(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """BoxDiff as LMD ran it: a sum over tokens, with the edges of every box."""
    layers = PLAIN_BOXDIFF.get(backbone.family, ANY_BOXDIFF).layers
    return [Guidance(guidance), replace(BOXDIFF, scenes=scenes, layers=layers)]


@worded(as_typed)
def multidiffusion(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """MultiDiffusion as LMD ran it: objects in front of one of 10 colours in 10 of 50 steps, at guidance 10.

    The boxes are scaled to fill the image, whether or not LMD's own runs scale boxes.
    """
    scenes = [
        scaled_to_canvas(scene) if isinstance(scene, Scene) else scene for scene in scenes
    ]  # a story is refused later
    regions = Regions(
        scenes,
        bootstrap=README_BOOTSTRAP,
        negative=MULTIDIFFUSION_OBJECT,
        around=MULTIDIFFUSION_BACKGROUND,
        legacy=True,
    )
    return [regions, Guidance(guidance)]


def _multidiffusion_guidance(backbone: Backbone) -> float:
    return MULTIDIFFUSION_GUIDANCE


multidiffusion.guidance = _multidiffusion_guidance  # pyright: ignore[reportFunctionMemberAccess]


@used(Usage("sat-dpm++", WindowLayout(overlap=9 / 13, transitions=2, by_count=True), reweights_as_published=True))
@worded(as_typed)
def ditctrl(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """DiTCtrl as its released script runs it: windows by the number of prompts, each attending to the one before."""
    # without a negative prompt the unconditional branches are conditioned on zeros, not on an encoded text
    parts = [part for scene in scenes for part in (scene.scenes if isinstance(scene, Timeline) else (scene,))]
    has_negative = any(backbone.defaults.negative_text(part.negative) for part in parts)

    controls: list[Control] = [WaveGuidance(guidance)]
    if not has_negative:
        controls.append(ZeroNegative())
    return [*controls, *in_time(scenes, backbone)]


def _on_lmds_layers(energy: Energy, backbone: Backbone) -> Energy:
    """The energy on the layers that LMD uses on this model."""
    return replace(energy, layers=lmd_settings(backbone).layers)
