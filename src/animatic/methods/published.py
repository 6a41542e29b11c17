"""The methods as published: the arithmetic and the numbers of the authors' own code, for comparison with their tables.

Energies are sums over heads and frames, whatever a network has of both, and a sample that once fell under its threshold
is never guided again. Boxes are rounded, and interpolated between key frames, by the originals' rules; prompts have
their wording. docs/published.md lists number by number what the plain names do instead.

LVD: arXiv 2309.17444, https://github.com/TonyLianLong/LLM-groundedVideoDiffusion. LMD and the baselines as it runs
them: arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion. DiTCtrl: arXiv 2412.18597,
https://github.com/TencentARC/DiTCtrl.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..controls.boxdiff import BoxDiff
from ..controls.composition import Composition
from ..controls.energy import Energy, LinearDecay
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance, WaveGuidance, ZeroNegative
from ..controls.masks import SamMask
from ..controls.regions import Regions
from ..controls.sharing import ShareKV
from ..controls.terms import BoxEnergy, Ratio
from ..planning.boxes import scaled_to_canvas
from ..prompting.negatives import LMD_OBJECT, MULTIDIFFUSION_BACKGROUND, MULTIDIFFUSION_OBJECT
from ..prompting.styles import as_typed, listing_objects_published, with_background_published
from ..scene import Scene
from ..timeline import WindowLayout
from . import baselines, ditctrl, lmd, lvd
from .method import ANY, combined


def on_layers_of(energy: Energy, plain: Mapping[str, Energy]) -> dict[str, Energy]:
    """The energy on the layers that the plain method reads on each family."""
    return {family: replace(energy, layers=own.layers) for family, own in plain.items()}


def filling_canvas(scene: Scene) -> Scene:
    """The scene as typed, its boxes scaled together to fill the image, whether or not LMD's own runs scale boxes."""
    return scaled_to_canvas(as_typed(scene))


# ---- LVD: generation/lvd.py, `run`: 10 of 40 steps; README: the weak setting of each model, and the benchmark's 0.03

LVD_ENERGY = Energy(
    BoxEnergy(legacy=True), scale=5.0, until=0.25, iterations=5, threshold=200.0, legacy=True, separate_objects=True
)
LVD_WEAK_ENERGY = replace(
    LVD_ENERGY, terms=BoxEnergy(0.25, 0.25, background=2, legacy=True), scale=2.5, iterations=1, threshold=250.0
)
LVD_BENCHMARK_ENERGY = replace(LVD_ENERGY, terms=BoxEnergy(centre=0.03, legacy=True))
README_BETA = 0.4  # LVD-GLIGEN's README, LMD+
LVD_PLUS_BETA = 1.0  # generation/lvd_plus.py

LVD = replace(
    lvd.LVD,
    name="lvd:published",
    summary="LVD as published.",
    controls=combined(Guidance(), on_layers_of(LVD_ENERGY, lvd.ENERGY)),
    prompt_style=with_background_published,
)
LVD_WEAK_BY_FAMILY = {
    **on_layers_of(LVD_WEAK_ENERGY, lvd.ENERGY),
    "zeroscope": replace(LVD_WEAK_ENERGY, layers=lvd.LAYERS, threshold=350.0),  # 250 elsewhere
}
LVD_WEAK = replace(
    LVD,
    name="lvd:weak:published",
    summary="LVD's README's setting for visual quality as published: the threshold is 350 on Zeroscope, 250 elsewhere.",
    controls=combined(Guidance(), LVD_WEAK_BY_FAMILY),
)
LVD_BENCHMARK = replace(
    LVD,
    name="lvd:benchmark:published",
    summary="LVD's setting for its benchmark as published: centres of mass in cells, weighted 0.03.",
    controls=combined(Guidance(), on_layers_of(LVD_BENCHMARK_ENERGY, lvd.ENERGY)),
)
LVD_GLIGEN = replace(
    LVD,
    name="lvd-gligen:published",
    summary="LVD-GLIGEN as published: boxes between key frames by LVD's rule.",
    controls=combined(Guidance(), Gligen(until=README_BETA, legacy=True)),
)
LVD_PLUS = replace(
    LVD,
    name="lvd+:published",
    summary="LVD+ as published: conditioned on boxes at every noise level, but not in the passes of the energy.",
    controls=combined(
        Guidance(),
        on_layers_of(LVD_ENERGY, lvd.ENERGY),
        Gligen(until=LVD_PLUS_BETA, guided="no word", legacy=True),
    ),
)

# ---- LMD: generation/lmd.py and lmd_plus.py, `run`: 30 of 50 steps

LMD_ENERGY = on_layers_of(
    Energy(
        BoxEnergy(0.2, 0.2, legacy=True), scale=5.0, until=0.6, iterations=lmd.ITERATIONS, threshold=5.0, legacy=True
    ),
    lmd.ENERGY,
)
LMD_COMPOSITION = {
    family: Composition(
        energy,
        object_controls=(Guidance(), energy),
        mask=SamMask(point=True, legacy=True),
        mask_layers=lmd.MASK_LAYERS[family],
        negative=LMD_OBJECT,
        transfer=lmd.TRANSFER,
        legacy=True,
    )
    for family, energy in LMD_ENERGY.items()
}
LMD_PLUS_COMPOSITION = {
    family: replace(
        composition,
        object_controls=(Guidance(), Gligen(until=README_BETA, legacy=True)),
        mask=SamMask(legacy=True),
        centre=False,
        blend=0.1,
    )
    for family, composition in LMD_COMPOSITION.items()
}

LMD = replace(
    lmd.LMD,
    name="lmd:published",
    summary="LMD as published: objects are cut out by Segment Anything, prompted with the point of highest attention.",
    controls=combined(Guidance(), LMD_COMPOSITION),
    prompt_style=listing_objects_published,
)
# "two cats" stands beside each of their boxes, not "a cat"
LMD_PLUS = replace(
    LMD,
    name="lmd+:published",
    summary="LMD+ as published: no boxes in the passes of the energy, and objects of one name have one phrase for all.",
    controls=combined(
        Guidance(),
        LMD_PLUS_COMPOSITION,
        Gligen(until=README_BETA, guided="nothing", legacy=True, naming="phrase"),
    ),
)

# ---- baselines as LMD runs them: generation/{gligen,backward_guidance,boxdiff,multidiffusion}.py

# 10 and 25 of 50 steps
BACKWARD_ENERGY = Energy(Ratio(least=0.0, legacy=True), scale=30.0, until=0.2, iterations=5, threshold=0.2, legacy=True)
BOXDIFF_ENERGY = Energy(BoxDiff(legacy=True), scale=20.0, until=0.5, iterations=1, step_size=LinearDecay(), legacy=True)
REGIONS = Regions(
    bootstrap=baselines.README_BOOTSTRAP, negative=MULTIDIFFUSION_OBJECT, around=MULTIDIFFUSION_BACKGROUND, legacy=True
)

GLIGEN = replace(
    baselines.GLIGEN,
    name="gligen:published",
    summary="GLIGEN as LMD ran it (generation/gligen.py): the name of an object is the prompt of an image of it alone.",
    controls=combined(Guidance(), Gligen(until=README_BETA, legacy=True, naming="prompt")),
    prompt_style=listing_objects_published,
)
BACKWARD_GUIDANCE = replace(
    baselines.BACKWARD_GUIDANCE,
    name="backward-guidance:published",
    summary="Backward guidance as LMD ran it: a sample once under the threshold is never guided again.",
    controls=combined(Guidance(), on_layers_of(BACKWARD_ENERGY, lmd.ENERGY)),
    prompt_style=listing_objects_published,
)
BOXDIFF = replace(
    baselines.BOXDIFF,
    name="boxdiff:published",
    summary="BoxDiff as LMD ran it: a sum over tokens, with the edges of every box.",
    controls=combined(Guidance(), on_layers_of(BOXDIFF_ENERGY, baselines.BOXDIFF_ENERGY)),
    prompt_style=listing_objects_published,
)
MULTIDIFFUSION = replace(
    baselines.MULTIDIFFUSION,
    name="multidiffusion:published",
    summary="MultiDiffusion as LMD ran it: objects in front of one of 10 colours in 10 of 50 steps, at guidance 10.",
    controls=combined(REGIONS, Guidance()),
    prompt_style=filling_canvas,
    guidance={ANY: baselines.MULTIDIFFUSION_GUIDANCE},
)

# ---- DiTCtrl: its released script; without a negative prompt the unconditional branches are conditioned on zeros

DITCTRL = replace(
    ditctrl.DITCTRL,
    name="ditctrl:published",
    summary="DiTCtrl as its script runs it: windows by the number of prompts, each attending to the one before.",
    controls=combined(WaveGuidance(), ZeroNegative(), ditctrl.WINDOWS, ShareKV()),
    prompt_style=as_typed,
    scheduler="sat-dpm++",
    layout=WindowLayout(overlap=9 / 13, transitions=2, by_count=True),
    reweights_as_published=True,
)
