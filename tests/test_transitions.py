"""What joins the scenes of a story: words mixed, a cut, a crossfade; the same from Python and the command line."""

import json

import numpy as np
import pytest
from conftest import close_frames

import animatic
from animatic import AnimaticError, Scene, Track, Video
from animatic.backbones import load
from animatic.core.geometry import Geometry
from animatic.scene import save_story
from animatic.timeline import WindowLayout, timeline_of
from animatic.transitions import Transition, check_crossfades, crossfaded, transitions_of
from animatic.window_plan import Window, between_cuts, by_time

LEFT, RIGHT = (0.05, 0.3, 0.45, 0.7), (0.55, 0.3, 0.95, 0.7)
STORY = (
    Scene("A red ball on the grass", (Track("red ball", (LEFT, RIGHT)),)),
    Scene("A bear in the snow", (Track("bear", (RIGHT, LEFT)),)),
    Scene("A star on the beach", (Track("star", (LEFT, LEFT)),)),
)
CUT = Transition()


def test_the_text_of_transitions():
    assert transitions_of(2, 3) == (Transition(2),) * 3
    assert transitions_of("cut", 2) == (CUT, CUT)
    assert transitions_of("2, cut,crossfade:8", 3) == (Transition(2), CUT, Transition(None, 8))
    assert transitions_of("cut", 0) == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [("cut,1", "2 for 3 joins"), ("wipe", "want a number of mixed windows"), ("", "want a number"), (-1, "is -1"),
     (True, "is True"), (1.5, "is 1.5"), ("crossfade", "want a number"), ("crossfade:0", "is a cut"),
     ("99999999", "at most 10000"), ("²", "want a number")],
)  # fmt: skip
def test_what_is_no_transition_is_one_line(value, message):
    with pytest.raises(AnimaticError, match=message):
        transitions_of(value, 3)


def test_windows_do_not_lie_over_a_cut():
    plan = between_cuts([16, 8, 16], 8, 4, [CUT, Transition(1)])
    assert plan.cuts == (16,) and plan.frames == 40 and plan.edges == (0, 0.4, 0.6, 1)
    assert [window.first for window in plan.windows] == [0, 4, 8, 16, 20, 24, 28, 32]
    assert plan.windows[3] == Window(16, ((1, 1.0),)) and plan.windows[-1] == Window(32, ((2, 1.0),))
    assert plan.windows[4] == Window(20, ((1, 0.5), (2, 0.5)))

    # without cuts it is the plan of the whole; a part that is shorter than a window is made as long
    assert between_cuts([16, 8, 16], 8, 4, [Transition(1)] * 2) == by_time([16, 8, 16], 8, 4, 1)
    short = between_cuts([4, 8], 8, 4, [CUT])
    assert short.frames == 16 and short.cuts == (8,) and short.edges == (0, 0.5, 1)
    assert short.times(2).cuts == (16,)


def test_each_join_has_its_own_number_of_mixed_windows():
    plan = between_cuts([16, 16, 16], 8, 4, [Transition(0), Transition(3)])
    mixed = [window.first for window in plan.windows if len(window.prompt_weights) == 2]
    assert mixed == [12, 24, 28, 32]  # the first one has its middle on the border itself


def test_a_crossfade_is_linear_and_its_parts_overlap():
    clip = np.zeros((12, 2, 2, 3), np.uint8)
    clip[6:] = 200
    made = crossfaded(clip, [6], [3])
    assert made[:, 0, 0, 0].tolist() == [0, 0, 0, 50, 100, 150, 200, 200, 200] and made.dtype == np.uint8
    assert (crossfaded(clip, [6], [0]) == clip).all()
    twice = crossfaded(clip, [4, 8], [2, 2])
    assert len(twice) == 8
    with pytest.raises(AnimaticError, match="a crossfade of 3 frames joins a part of 4 frames"):
        check_crossfades(12, [4, 8], [2, 3])


def test_cuts_of_a_video_autoencoder_that_holds_four_frames():
    """The first latent frame is one frame, each other four."""
    geometry = Geometry(channels=4, frames=13, height=8, width=8, fps=4, vae_temporal_ratio=4, vae_spatial_ratio=1)
    story = tuple(Scene(scene.prompt, seconds=4) for scene in STORY)
    timeline = timeline_of(story, geometry, WindowLayout(transitions="crossfade:3,1"))
    assert timeline.crossfades == (3,)
    (cut,) = timeline.plan.cuts
    assert timeline.cuts(geometry) == [4 * (cut - 1) + 1]


def test_a_layout_by_count_takes_numbers_alone():
    geometry = load("mini").geometry
    layout = WindowLayout(transitions="1,2", by_count=True)
    counts = [len(window.prompt_weights) for window in timeline_of(STORY, geometry, layout).plan.windows]
    assert counts == [1, 2, 1, 2, 2, 1]
    with pytest.raises(AnimaticError, match="this method counts windows"):
        timeline_of(STORY, geometry, WindowLayout(transitions="1,cut", by_count=True))


def test_python_and_the_command_line_make_the_same_story(here):
    """The text stands in the request of the file, which makes the same frames again."""
    save_story(STORY, "story.json")
    options = [
        "--transitions",
        "cut,crossfade:3",
        "--model",
        "mini",
        "--method",
        "none",
        "--steps",
        "2",
        "--seed",
        "5",
        "--size",
        "48x48",
    ]
    code, _, error = here("render", "story.json", *options, "-o", "command.mkv")
    assert code == 0, error
    command = Video.load("command.mkv")
    made = animatic.render(STORY, "mini", "none", seed=5, steps=2, size=(48, 48), transitions="cut,crossfade:3")
    assert close_frames(command.frames, made.frames)
    assert command.request.windows.transitions == "cut,crossfade:3"
    assert close_frames(animatic.generate(command.request).frames, made.frames)

    # the same pictures as with two cuts, the second and the third scene dissolved over three frames
    cut = animatic.render(STORY, "mini", "none", seed=5, steps=2, size=(48, 48), transitions="cut")
    borders = timeline_of(STORY, load("mini").geometry, WindowLayout(transitions="cut")).cuts(load("mini").geometry)
    assert len(made) == len(cut) - 3
    assert close_frames(made.frames, crossfaded(cut.frames, borders, [0, 3]))

    # a plain number stays one, as in files of before
    code, _, error = here("render", "story.json", *options[2:], "--transitions", "2", "-o", "mixed.mkv")
    assert code == 0, error
    assert Video.load("mixed.mkv").request.windows.transitions == 2
    code, _, error = here("render", "story.json", "--transitions", "wipe")
    assert code != 0 and "transitions is 'wipe'; want a number of mixed windows" in error
    assert json.loads(json.dumps(command.request.to_dict()))["windows"]["transitions"] == "cut,crossfade:3"
