"""Attention maps over a video of the studio: what is recorded of a run, and the page's canvas over the video."""

import base64
import json

import numpy as np
import pytest
import torch

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from conftest import needs_browser
from test_studio_page import browser, page, server  # noqa: F401 - fixtures
from test_studio_takes_page import serious_violations

from animatic import Scene, Track, generate, load
from animatic.attention_export import AttentionExport
from animatic.request import GenerationRequest, SamplingOptions
from animatic.studio import attention_recording
from animatic.studio.attention_recording import SIDE, STEPS, AttentionRecording

LEFT, RIGHT = ((0.0, 0.2, 0.4, 0.8),), ((0.6, 0.2, 1.0, 0.8),)
SCENE = Scene("A bear and a cat", (Track("bear", LEFT), Track("cat", RIGHT)))


def values(entry: dict) -> np.ndarray:
    """A map of the file, `[frame, height, width]` in 0..1."""
    data = np.frombuffer(base64.b64decode(entry["data"]), np.uint8)
    return data.reshape(entry["shape"]) / 255


def scaled(heat: np.ndarray) -> np.ndarray:
    return heat / heat.max()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """What was recorded of a run of twelve steps, and what `AttentionExport` has of the same, made again."""
    folder = tmp_path_factory.mktemp("maps")
    model = load("mini")
    recording, export = AttentionRecording(active=True), AttentionExport(whole=True, of="*")
    request = GenerationRequest((SCENE,), method="none", sampling=SamplingOptions(seed=3, steps=12, frames=2))
    video = generate(request, model, callbacks=[recording])
    generate(request, model, callbacks=[export])
    path = recording.save(folder / "x.maps.json", len(video))
    assert not recording.active and not recording.means
    return json.loads(path.read_text("utf-8")), export


def test_maps_are_those_of_the_run(recorded):
    data, export = recorded
    assert data["words"] == ["bear", "cat"] and data["frames"] == 2 and len(data["layers"]) > 1
    assert data["steps"] == [0, 2, 4, 6, 8, 10]
    maps = {(entry["word"], entry["layer"], entry["step"]): values(entry) for entry in data["maps"]}
    assert len(maps) == len(data["maps"]) == 2 * (len(data["layers"]) + 1) * (len(data["steps"]) + 1)
    for word in data["words"]:
        assert maps[word, None, None] == pytest.approx(export.means[word], abs=0.003)
        for layer in data["layers"]:
            single = export._each[f"004-{layer}"][word]
            assert maps[word, layer, 4] == pytest.approx(single, abs=0.003)
            assert maps[word, layer, None].max() == 1
        assert maps[word, None, 4].shape[1:] == max(maps[word, layer, 4].shape[1:] for layer in data["layers"])
    assert np.abs(maps["bear", None, None] - maps["cat", None, None]).max() > 0.1


def recording_of(steps: int, shape=(1, 4, 4), layers=("a",)) -> AttentionRecording:
    recording = AttentionRecording(active=True)
    recording.means["bear"] = np.ones(shape, np.float32)
    for step in range(steps):
        for layer in layers:
            recording._layer(0, "bear", layer, step, torch.full(shape, step + 1.0))
    return recording


def saved(recording: AttentionRecording, path) -> dict:
    return json.loads(recording.save(path, 1).read_text("utf-8"))


@pytest.mark.parametrize(
    ("count", "steps"), [(1, [0]), (8, list(range(8))), (9, [0, 2, 4, 6, 8]), (50, [*range(0, 50, 8)])]
)
def test_steps_are_spread_evenly(count, steps, tmp_path):
    assert len(steps) <= STEPS
    assert saved(recording_of(count), tmp_path / "x.json")["steps"] == steps


def test_maps_are_kept_small(tmp_path, monkeypatch):
    large = saved(recording_of(1, (1, 90, 120)), tmp_path / "x.json")
    assert {tuple(entry["shape"]) for entry in large["maps"]} == {(1, 24, SIDE)}
    # room for two steps of two layers of sixteen cells
    monkeypatch.setattr(attention_recording, "CELLS", 64)
    assert saved(recording_of(6, layers=("a", "b")), tmp_path / "x.json")["steps"] == [0, 4]


def test_a_mean_over_layers_is_on_the_largest_grid(tmp_path):
    recording = recording_of(1)
    recording._layer(0, "bear", "b", 0, torch.tensor([[[3.0]], [[1.0]]]))  # two frames of one cell
    maps = {(m["layer"], m["step"]): m for m in saved(recording, tmp_path / "x.json")["maps"]}
    mean = values(maps[None, 0])
    assert mean.shape == (2, 4, 4)
    assert mean[0] == pytest.approx(1) and mean[1] == pytest.approx(0.5, abs=0.003)


# ---- on the page


def pixels(page) -> list:  # noqa: F811
    """The canvas over the first video, as bytes of red, green, blue and alpha."""
    return page.evaluate("""() => {
        const canvas = document.querySelector("#result .attention-map");
        return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
    }""")


@pytest.mark.browser
@needs_browser
def test_maps_are_laid_over_the_playing_video(page):  # noqa: F811
    page.uncheck("#none")
    page.select_option("#method", "none")
    page.fill("#steps", "3")
    page.fill("#frames", "6")
    page.check("#attention")
    page.click("#render")
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
    figure = page.locator("#result figure[data-take='0']")
    with page.expect_response("**/*.maps.json") as answer:
        figure.get_by_label("attention over the video").check()
    data = answer.value.json()

    # of its one word, over the video and no larger
    canvas = figure.locator(".attention-map")
    canvas.wait_for(state="visible")
    assert canvas.bounding_box() == pytest.approx(figure.locator("video").bounding_box(), abs=1)
    figure.get_by_label("Word").select_option("bear")

    # in step with the time: its first and last frame are those of the file
    entry = next(m for m in data["maps"] if m["layer"] is None and m["step"] is None)
    for place, frame in ((0, 0), (0.999, entry["shape"][0] - 1)):
        page.evaluate(
            """place => {
            const video = document.querySelector("#result video");
            video.pause();
            video.currentTime = place * video.duration;
        }""",
            place,
        )
        page.wait_for_selector(f"#result .attention-map[data-frame='{frame}']")
        level = values(entry)[frame].ravel()
        drawn = np.array(pixels(page)).reshape(-1, 4)
        assert drawn[:, 0] / 255 == pytest.approx(level, abs=0.02)  # colours are kept multiplied by their alpha

    # playing, its frame changes
    page.evaluate("document.querySelector('#result video').play()")
    page.wait_for_selector("#result .attention-map[data-frame='2']")

    # one layer at one step is another map
    figure.get_by_label("Layer").select_option(data["layers"][0])
    figure.get_by_label("Step").select_option("1")
    single = next(m for m in data["maps"] if m["layer"] == data["layers"][0] and m["step"] == 1)
    size = canvas.evaluate("e => [e.height, e.width]")
    assert size == single["shape"][1:]

    # it can be read by everybody
    assert serious_violations(page) == []

    # less opaque, then off
    figure.get_by_label("Opacity").fill("40")
    assert canvas.evaluate("e => getComputedStyle(e).opacity") == "0.4"
    figure.get_by_label("attention over the video").uncheck()
    canvas.wait_for(state="hidden")
    assert not figure.get_by_label("Word").is_visible()
