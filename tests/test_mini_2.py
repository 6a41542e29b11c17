"""`mini-2`, which is taken where no model is named: its usual methods, and that things are where their boxes say."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import animatic
from animatic.backbones import load
from animatic.binding import usual_method
from animatic.rendering import render_batch
from animatic.scene import Scene, Track
from animatic.studio.models import Models
from animatic.toy.detector import ToyDetector
from animatic.toy.evals.held_out import held_out_cases
from animatic.toy.evals.judging import judge_one
from animatic.toy.world import COLOURS, NOUNS

BALL = Scene("a red ball", (Track("ball", ((0.1, 0.1, 0.5, 0.5), (0.4, 0.1, 0.8, 0.5))),), "grass", seconds=2.0)


def test_where_nothing_is_named_it_reads_boxes():
    clip = animatic.render(BALL, steps=1, frames=2)
    assert (clip.info["model"], clip.info["method"]) == ("mini-2", "lvd-gligen")
    story = animatic.render((BALL, BALL), steps=1)
    assert (story.info["model"], story.info["method"]) == ("mini-2", "ditctrl+gligen")
    assert usual_method(load("mini"), windowed=False) == "lvd"
    assert usual_method(load("mini"), windowed=True) == "ditctrl+lvd"


def test_what_is_usual_of_a_model_is_known_before_it_is_loaded(tmp_path):
    models = Models(["mini-2", "mini", "modelscope", "owner/name", str(tmp_path)])
    assert models.named("") == "mini-2"
    assert models.usual("mini-2") == {"method": "lvd-gligen", "story": "ditctrl+gligen", "steps": 20, "frames": 16}
    assert models.usual("mini") == {"method": "lvd", "story": "ditctrl+lvd", "steps": 25, "frames": 8}
    assert models.usual("modelscope") == {"method": "lvd", "story": "ditctrl+lvd", "steps": 40, "frames": 16}
    for unknown in ("owner/name", str(tmp_path)):  # a folder that has no outline
        assert models.usual(unknown) == {"method": "lvd", "story": "ditctrl+lvd", "steps": None, "frames": None}


@pytest.mark.slow("eight pictures of 20 steps")
def test_things_are_where_their_boxes_say():
    cases = held_out_cases(random.Random(5), 8, list(NOUNS))
    made = render_batch([case.scene for case in cases], "mini-2", seeds=range(8), frames=1)
    detector = ToyDetector()
    scores = [judge_one(case, video.frames, detector(video.frames)) for case, video in zip(cases, made, strict=True)]
    assert np.mean([score["noun"] for score in scores]) >= 0.75
    assert np.mean([score["within 3 px"] for score in scores]) >= 0.75


def test_a_background_that_it_may_not_show_is_told():
    known = "want one of grass, sky, night, beach, snow, road, sea, forest, room, desert"
    bare, field = replace(BALL, background=""), replace(BALL, background="field")
    model = load("mini-2")
    assert model.background_note(BALL) == ""
    assert model.background_note(replace(bare, prompt="a red ball on the beach")) == ""
    note = f"the scene names no background: that of mini-2 may change from frame to frame; {known}"
    assert model.background_note(bare) == note
    with pytest.warns(UserWarning, match="mini-2 does not know the background 'field', and may show others; want one"):
        animatic.render(field, model, steps=1, frames=1)
    assert load("mini").background_note(bare) == ""  # its card limits none


def test_the_docs_list_what_it_knows():
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text()
    things, colours, backgrounds = page.partition("## What `mini-2` knows")[2].split("* ")[1:4]
    model = load("mini-2")
    for line, known in ((things, model.words), (colours, COLOURS), (backgrounds, model.backgrounds)):
        listed = line.partition(": ")[2].partition(". ")[0]
        assert [word.strip() for word in listed.split(",")] == list(known)


def test_words_that_it_has_never_read_are_told():
    """It has read each of its nouns and colours, in one spelling."""
    model = load("mini-2")
    colourful = [replace(BALL.tracks[0], phrase=f"big {colour} {noun}") for colour in COLOURS for noun in NOUNS]
    assert model.word_note(replace(BALL, tracks=tuple(colourful))) == ""
    odd = replace(
        BALL, tracks=(replace(BALL.tracks[0], phrase="Grey ball"), replace(BALL.tracks[0], phrase="old ball"))
    )
    with pytest.warns(UserWarning, match="mini-2 has never read 'grey', 'old': such words may change nothing, or"):
        animatic.render(odd, "mini-2", steps=1, frames=1)


@pytest.mark.parametrize(("length", "named"), [(40, "r" * 40), (41, "r" * 39 + "…")])
def test_a_long_prompt_is_named_by_its_beginning(length, named):
    odd = replace(BALL, prompt="r" * length, tracks=(replace(BALL.tracks[0], phrase="old ball"),))
    with pytest.warns(UserWarning, match=f"scene '{named}': mini-2 has never read 'old'"):
        animatic.render(odd, "mini-2", steps=1, frames=1)
