"""Several seeds of one scene: equal to single renders, the texts encoded once, one page of all."""

import json

import numpy as np
import pytest
from PIL import Image

import animatic
from animatic.contact_sheet import comparison_sheet, evenly
from animatic.errors import AnimaticError
from animatic.generation import generate
from animatic.request import FinishingOptions, GenerationRequest, SamplingOptions
from animatic.scene import Scene, Track, save_story
from animatic.seed_series import generate_seeds
from animatic.story_edit import Edit
from animatic.video import Video

BEAR = Scene("A bear on the grass", (Track("bear", ((0.0, 0.25, 0.5, 0.75), (0.5, 0.25, 1.0, 0.75))),), seconds=2.0)
WISH = GenerationRequest((BEAR,), method="lvd", sampling=SamplingOptions(steps=3))


def difference(a: Video, b: Video) -> int:
    return int(np.abs(a.frames.astype(int) - b.frames.astype(int)).max())


def test_each_seed_is_its_single_render(monkeypatch):
    model = animatic.load("mini")
    texts = []
    encode = type(model).encode
    monkeypatch.setattr(type(model), "encode", lambda self, *a: (texts.append(a), encode(self, *a))[1])
    series = list(generate_seeds(WISH, [3, 5], model))
    assert len(texts) == 1
    for seed, video in zip([3, 5], series, strict=True):
        alone = generate(WISH.with_sampling(seed=seed), model)
        assert difference(video, alone) <= 1
        assert video.request == alone.request
    assert difference(*series) > 1  # or the seeds were not used


def test_stages_finish_each():
    wish = GenerationRequest(
        (BEAR,), method="none", sampling=SamplingOptions(steps=2), finishing=FinishingOptions("upscale:2")
    )
    for seed, video in zip([1, 2], generate_seeds(wish, [1, 2]), strict=True):
        alone = generate(wish.with_sampling(seed=seed))
        assert video.frames.shape == alone.frames.shape
        assert difference(video, alone) <= 1
        assert video.request == alone.request


def test_refused_before_the_first_video():
    with pytest.raises(AnimaticError, match="one seed"):
        generate_seeds(WISH.edited(Edit(swap={"bear": "dog"})), [0])
    with pytest.raises(AnimaticError, match="-1"):
        generate_seeds(WISH, [-1])


def test_command(tmp_path, here):
    file = tmp_path / "bear.json"
    save_story((BEAR,), file)
    given = ["render", str(file), "--method", "none", "--steps", "2", "--seed", "4", "-o", str(tmp_path / "out")]
    code, out, error = here(*given, "--format", "npz", "--seeds", "2", "--json")
    assert code == 0, error
    result = json.loads(out)
    assert result["seeds"] == [4, 5]
    assert [Video.load(f).info["seed"] for f in result["videos"]] == [4, 5]
    with Image.open(result["sheet"]) as page:
        assert page.height > page.width // 8


def test_page_has_a_row_for_each_video():
    frames = np.zeros((20, 16, 16, 3), np.uint8)
    video = Video(frames, 10.0, {})
    few = evenly(video, 8)
    assert len(few) == 8
    assert 7 / few.fps == pytest.approx(19 / video.fps)  # the last frame keeps its time
    one, two = (comparison_sheet({f"seed {i}": few for i in range(count)}) for count in (1, 2))
    assert two.height > 1.8 * one.height
    assert two.width == one.width
