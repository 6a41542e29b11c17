"""Chains of stages as their authors ran them, by name."""

from __future__ import annotations

from collections.abc import Mapping

# LaVie (https://github.com/Vchitect/LaVie), README: its four ways from a prompt to a video, and the two programs after
# the first as they were released
# (interpolation/configs/sample.yaml: all 61 frames made anew, written at 24 a second, seed 3418; vsr/sample.py: 8
# frames at a time, none shared, each from noise of its own, seed 10). The first one's seed is the run's: 400 in its
# examples. Prompt endings and negative words are in the models' cards.
_INTERPOLATION = "interpolate:4:model=lavie-interpolation:keep=no:fps=24:steps=50:guidance=4:seed=3418"
_UPSCALING = "upscale:4:model=lavie-vsr:window=8:overlap=0:still=no:level=50:steps=50:guidance=5:seed=10"
RECIPES: Mapping[str, tuple[str, ...]] = {
    "lavie-option-1": (),
    "lavie-option-2": (_INTERPOLATION,),
    "lavie-option-3": (_UPSCALING,),
    "lavie-option-4": (_INTERPOLATION, _UPSCALING),
}
