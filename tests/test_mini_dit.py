"""`mini-dit`, the bundled transformer: what it is, and that it shows what words and boxes say."""

import random

import numpy as np
import pytest
from diffusers import CogVideoXTransformer3DModel
from edit_pairs import edit_pair

import animatic
from animatic.backbones import load
from animatic.binding import usual_method
from animatic.errors import AnimaticError
from animatic.rendering import render, render_batch
from animatic.story_edit import Edit
from animatic.toy.detector import ToyDetector
from animatic.toy.evals.held_out import held_out_cases
from animatic.toy.evals.judging import judge_one


def test_it_is_a_small_stock_transformer_on_the_latents_of_mini():
    model, mini = load("mini-dit"), load("mini")
    assert type(model.unet) is CogVideoXTransformer3DModel
    assert sum(weight.numel() for weight in model.unet.parameters()) <= 6e6
    assert model.words == mini.words and model.geometry == mini.geometry
    assert model.defaults.guidance == 1  # it learnt that of its teacher
    assert usual_method(model, windowed=False) == "layout-attention"
    assert usual_method(model, windowed=True) == "ditctrl+layout-attention"


def test_a_prompt_of_too_many_tokens_is_refused():
    with pytest.raises(AnimaticError, match="has 52 tokens; mini-dit reads at most 48"):
        render(animatic.Scene("a ball " * 25, seconds=2.0), "mini-dit", steps=1, frames=1)


def test_a_story_follows_its_boxes_by_default():
    left = animatic.Track("ball", ((0.0, 0.25, 0.5, 0.75),) * 2)
    scene = animatic.Scene("a red ball", (left,), "grass", seconds=2.0)
    clip = render((scene, scene), "mini-dit", steps=2)
    assert clip.info["method"] == "ditctrl+layout-attention" and len(clip) == 16


def test_a_swapped_word_stays_near_its_source():
    scene = animatic.Scene("a red ball on the grass", background="grass", seconds=2.0)
    model, edit = load("mini-dit"), Edit(swap={"ball": "star"})
    how = {"seed": 1, "steps": 10, "frames": 1}
    source, target = edit_pair(scene, edit, model, **how)
    alone = render(edit.of(scene), model, "none", **how)
    led, free = (np.abs(video.frames.astype(int) - source.frames).mean() for video in (target, alone))
    assert 0 < led < free


@pytest.mark.slow("twelve clips of 25 steps, four of them in boxes")
def test_it_shows_what_words_and_boxes_say():
    model = load("mini-dit")
    detector = ToyDetector()

    def shares(method: str, count: int) -> dict[str, float]:
        cases = held_out_cases(random.Random(5), count, model.words, boxes=method != "none")
        made = render_batch([case.scene for case in cases], model, method, range(count))
        scores = [judge_one(case, clip.frames, detector(clip.frames)) for case, clip in zip(cases, made, strict=True)]
        return {key: float(np.mean([score[key] for score in scores if key in score])) for key in scores[0]}

    by_words = shares("none", 8)
    assert by_words["noun"] >= 0.6 and by_words["colour"] >= 0.6
    assert shares("layout-attention", 4)["centre in box"] >= 0.7
