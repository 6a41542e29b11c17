"""How often the objects of a take are in their boxes, where a detector of what the model shows is at hand."""

from __future__ import annotations

from ..backbones.components import Components
from ..benchmarks.cases import DetectionSettings
from ..benchmarks.detect import detect, sampled_frames
from ..benchmarks.metrics import agreement
from ..benchmarks.registry import detector_named, thresholds_for
from ..errors import AnimaticError
from ..scene import Story
from ..video import Video

FRAMES = 6  # evenly spaced, as the benchmarks judge videos


def in_box(video: Video, story: Story, model: Components) -> float | None:
    """The fraction, in 0..1, of planned boxes with their object's centre inside.

    None where there is nothing to measure: several scenes, no boxes, an object that the detector does not know, or a
    model of other worlds than the toy world, whose objects no detector without weights of its own can find.
    """
    if not model.words or len(story) != 1 or not story[0].tracks:
        return None
    (scene,) = story
    indices = sampled_frames(len(video), min(FRAMES, len(video)))
    queries = list(dict.fromkeys(track.phrase for track in scene.tracks))
    settings = thresholds_for("toy", DetectionSettings())
    detector = detector_named("toy")
    try:
        found = detect(detector, video.frames[indices], queries, scene.prompt, settings, all_boxes=True)
    except AnimaticError:  # words or a size that are not of the toy world
        return None
    return agreement(scene, found, len(video), indices).get("in box")
