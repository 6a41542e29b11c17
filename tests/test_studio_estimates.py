"""What the studio says before a render: its memory, its time, and the sizes that suit a model. The page shows it."""

import json
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from conftest import Altered, needs_browser
from test_studio_page import browser, page, server  # noqa: F401 - fixtures

import animatic
from animatic import AnimaticError, Scene, Track
from animatic.backbones.skeleton import skeleton
from animatic.callbacks import FINISHING, RENDERING
from animatic.scene import story_json
from animatic.studio import estimates as estimates_module
from animatic.studio.api import Api
from animatic.studio.estimates import KEPT, Estimates, Setup, StepTimer
from animatic.studio.log import DONE
from animatic.studio.sizes import NATIVE, size_presets
from animatic.studio.work import Limits, Studio

BEAR = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))
SCENE = json.loads(story_json((BEAR,)))
UNCOVERED = "hunyuanvideo1.5-480p"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    limits = Limits(side=512)
    api = Api(Studio(tmp_path_factory.mktemp("house") / "studio", ("mini", "sd15", UNCOVERED), limits))
    yield api
    api.studio.close()


def rendered(api: Api, **words) -> None:
    """Render the scene, and wait until it is done."""
    job = api.render(SCENE, **words)
    end = time.monotonic() + 120
    while job["state"] in ("waiting", "running") and time.monotonic() < end:
        time.sleep(0.02)
        job = api.status(job["id"])
    assert job["state"] == DONE, job["message"]


# ---- memory


def test_the_memory_is_that_of_a_rehearsal(api):
    said = api.estimate(SCENE, method="lvd", frames=4, size="64x48")
    rehearsal = animatic.rehearse("mini", "lvd", frames=4, size=(64, 48), objects=1, speed=1.0)
    assert (said["memory"], said["weights"]) == (rehearsal.peak, sum(rehearsal.weights.values()))
    assert said["fits"] and said["free"] > 0 and said["reason"] == ""
    # the largest of what is compared counts
    plain = api.estimate(SCENE, method="none", frames=4, size="64x48")
    compared = api.estimate(SCENE, method="none", frames=4, size="64x48", compare=["lvd"])
    assert plain["memory"] < compared["memory"] == said["memory"]


def test_a_setting_and_the_guidance_count(api):
    def memory(**words):
        return api.estimate(SCENE, method="none", frames=8, **words)["memory"]

    assert memory(guidance=1.0) < memory()  # one branch less in the batch
    said = api.estimate(SCENE, method="lvd", settings={"energy.scal": 3})
    assert said["memory"] is None and "energy.scal" in said["reason"]


def test_a_story_is_rehearsed_in_windows(api):
    scenes = json.loads(story_json((BEAR, BEAR)))
    story = api.estimate(scenes)
    rehearsal = animatic.rehearse("mini", "ditctrl+lvd", seconds=4.0, objects=1, speed=1.0)
    assert story["memory"] == rehearsal.peak


def test_what_does_not_fit_is_said(tmp_path):
    api = Api(Studio(tmp_path / "studio", limits=Limits(memory=0.001), models=("mini",)))
    try:
        said = api.estimate(SCENE)
    finally:
        api.studio.close()
    assert said["fits"] is False and said["memory"] > said["free"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"model": UNCOVERED}, "rehearse does not cover"),
        ({"size": "60x60"}, "this model takes multiples of"),
        ({"method": "gligen", "model": "sd15"}, "gligen"),
    ],
)
def test_what_cannot_be_counted_says_why_and_is_no_error(api, words, reason):
    said = api.estimate(SCENE, **words)
    assert reason in said["reason"]
    assert said["memory"] is said["fits"] is said["seconds"] is None


def test_what_a_render_would_refuse_is_not_counted(api, monkeypatch):
    monkeypatch.setattr(api.studio.estimates, "rehearsed", lambda setup: pytest.fail("it was counted"))
    for words in ({"size": "4096x64"}, {"frames": 10**6}, {"takes": 99}, {"model": "/etc"}, {"vary": {"name": 3}}):
        said = api.estimate(SCENE, **words)
        assert said["memory"] is None and said["reason"], words
    assert api.estimate({"prompt": "", "tracks": []})["reason"]


# ---- LoRAs and embeddings


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """A LoRA of rank 4 for one layer of `mini`: its file, and the layer's weight."""
    path = tmp_path_factory.mktemp("lora") / "hat.safetensors"
    network = animatic.load("mini").unet
    name = next(name for name, _ in network.named_modules() if name.endswith("attn2.to_q"))
    weight = network.get_submodule(name).weight
    state = {f"unet.{name}.lora_A.weight": torch.ones(4, weight.shape[1])}
    save_file({**state, f"unet.{name}.lora_B.weight": torch.ones(weight.shape[0], 4)}, path)
    return path, weight


def test_a_lora_takes_memory_while_it_is_added(lora, tmp_path):
    file, weight = lora
    plain = animatic.rehearse("mini", frames=1, device="cpu", speed=1.0)
    added = animatic.rehearse("mini", frames=1, device="cpu", speed=1.0, loras=[f"{file}:0.5"])
    numbers = 4 * sum(weight.shape)
    assert plain.adding == 0 and added.adding == 4 * (numbers + 4 * weight.numel())
    assert added.peak == max(plain.peak, sum(plain.weights.values()) + added.adding)
    assert added.flops == plain.flops  # it is in the weights

    # one that is larger than the render decides how much there must be
    large = tmp_path / "large.safetensors"
    state = load_file(file)
    rank = plain.peak // 4 // sum(weight.shape)
    save_file(
        {name: torch.zeros([rank if side == 4 else side for side in rows.shape]) for name, rows in state.items()}, large
    )
    decided = animatic.rehearse("mini", frames=1, device="cpu", speed=1.0, loras=[(str(large), 1.0, "")])
    assert decided.peak > plain.peak
    state[next(iter(state))] = torch.ones(4, 3)
    save_file(state, large)
    with pytest.raises(AnimaticError, match=r"want a LoRA of this network|does not fit"):
        animatic.rehearse("mini", frames=1, speed=1.0, loras=[str(large)])


def test_an_embedding_is_among_the_weights(tmp_path):
    file = tmp_path / "toy.safetensors"
    save_file({"toy": torch.ones(3, 64)}, file)
    plain = animatic.rehearse("mini", frames=1, device="cpu", speed=1.0)
    added = animatic.rehearse("mini", frames=1, device="cpu", speed=1.0, embeddings=[str(file)])
    assert added.weights == {**plain.weights, "embeddings": 3 * 64 * 4}
    assert added.peak == plain.peak + 3 * 64 * 4


def test_the_studio_counts_its_loras(lora, tmp_path):
    file, _ = lora
    api = Api(Studio(tmp_path / "studio", loras=[str(file)], models=("mini",)))
    try:
        said = api.estimate(SCENE, method="none", frames=1, loras=[str(file)])
        rehearsal = animatic.rehearse("mini", "none", frames=1, objects=1, speed=1.0, loras=[str(file)])
        assert said["memory"] == rehearsal.peak and rehearsal.adding and said["reason"] == ""
        unknown = api.estimate(SCENE, loras=["/etc/passwd"])
        assert unknown["memory"] is None and "unknown LoRA" in unknown["reason"]

        # once it is there it is part of the weights; its time is that of the model
        rendered(api, method="none", frames=1, steps=1, loras=[str(file)])
        again = api.estimate(SCENE, method="none", frames=1, loras=[str(file)])
        assert again["memory"] == animatic.rehearse("mini", "none", frames=1, objects=1, speed=1.0).peak
        assert again["seconds"] > 0 and api.estimate(SCENE, method="none", frames=1)["seconds"] > 0
    finally:
        api.studio.close()


# ---- time


def test_the_time_follows_from_what_was_rendered(api):
    quick = {"method": "none", "frames": 2, "steps": 3}
    assert api.estimate(SCENE, **quick)["seconds"] is None  # nothing rather than a guess
    rendered(api, **quick)
    seconds = api.estimate(SCENE, **quick)["seconds"]
    assert 0 < seconds < 60
    for words, factor in (({"steps": 6}, 2), ({"takes": 4}, 4)):
        assert api.estimate(SCENE, **{**quick, **words})["seconds"] == pytest.approx(factor * seconds)
    # another setup by its operations: more of them take longer
    larger = api.estimate(SCENE, **{**quick, "frames": 8})["seconds"]
    guided = api.estimate(SCENE, **{**quick, "frames": 8, "method": "lvd"})["seconds"]
    assert seconds < larger < guided
    assert api.estimate(SCENE, **quick, model="sd15")["seconds"] is None  # nor of another model
    assert api.estimate(SCENE, **quick, fast=True)["seconds"] is None


def test_an_uncovered_model_has_the_time_of_the_same_setup_alone(monkeypatch):
    estimates = Estimates()
    made = Setup("m", "none", (), 8, None, (64, 64), 1)
    estimates.measured(made, 0.5)
    assert estimates.step_seconds(made) == 0.5

    def refuse(*given, **options):
        raise animatic.AnimaticError("rehearse does not cover m")

    monkeypatch.setattr(estimates_module, "rehearse", refuse)
    assert estimates.step_seconds(Setup("m", "none", (), 16, None, (64, 64), 1)) is None


def test_a_setup_is_counted_once(monkeypatch):
    calls = []
    monkeypatch.setattr(estimates_module, "rehearse", lambda *given, **options: calls.append(given) or len(calls))
    estimates = Estimates()
    setups = [Setup("m", "none", (), frames, None, (64, 64), 1) for frames in range(1, KEPT + 2)]
    assert [estimates.rehearsed(setups[0]) for _ in range(3)] == [1, 1, 1]
    for setup in setups:
        estimates.rehearsed(setup)
    assert len(calls) == KEPT + 1
    estimates.rehearsed(setups[0])  # the oldest was forgotten
    assert len(calls) == KEPT + 2


def test_closing_waits_for_the_rehearsal_at_hand(monkeypatch):
    begun, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(
        estimates_module, "rehearse", lambda *given, **options: (begun.set(), may_end.wait(60)) and "counted"
    )
    estimates = Estimates()
    setup = Setup("m", "none", (), 8, None, (64, 64), 1)
    thread = threading.Thread(target=estimates.rehearsed, args=(setup,))
    thread.start()
    assert begun.wait(60)
    assert not estimates.close(0.01)
    may_end.set()
    assert estimates.close(60)
    thread.join()
    assert estimates.rehearsed(setup) == "counted"
    with pytest.raises(animatic.AnimaticError, match="closing"):
        estimates.rehearsed(Setup("m", "none", (), 9, None, (64, 64), 1))


def test_the_timer_leaves_out_what_is_no_step(monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(estimates_module, "time", Altered(time, monotonic=lambda: next(clock)))
    timer = StepTimer()
    timer.on_progress(RENDERING, 0, 3)
    timer.on_progress(RENDERING, 1, 3)
    assert timer.seconds is None
    timer.on_progress(RENDERING, 3, 3)
    timer.on_progress(FINISHING, 0, 7)
    timer.on_progress(FINISHING, 7, 7)
    assert timer.seconds == 2.0


# ---- sizes


@pytest.mark.parametrize("name", ["mini", "sd15", "sdxl", "cogvideox-2b", "ltx-video"])
def test_sizes_are_taken_by_the_model_and_have_its_pixels(name):
    model = skeleton(name).model
    geometry = model.geometry
    native, *others = size_presets(model)
    assert (native.name, native.width, native.height) == (NATIVE, geometry.width, geometry.height)
    shapes = [each.name.split()[0] for each in others]
    assert {"landscape", "portrait"} <= set(shapes) and ("square" in shapes) == (geometry.width != geometry.height)
    for each in others:
        geometry.latent(1, each.height, each.width)  # raises where the model does not take it
        pixels = each.width * each.height
        assert 0.7 * geometry.width * geometry.height < pixels <= geometry.width * geometry.height
        wider = {"square": each.width == each.height, "landscape": each.width > each.height}
        assert wider.get(each.name.split()[0], each.width < each.height), each
    sizes = [(each.width, each.height) for each in (native, *others)]
    assert len(set(sizes)) == len(sizes)


def test_sizes_by_the_api(api):
    found = api.sizes()
    assert found[0] == {"name": NATIVE, "width": 64, "height": 64}
    for each in found:
        said = api.estimate(SCENE, size=f"{each['width']}x{each['height']}")
        assert said["reason"] == "", each
    assert {"width", "height", "name"} == set(found[-1]) and len(found) > 2
    longest = max(each["width"] for each in found)
    assert all(each.width < longest for each in size_presets(skeleton("mini").model, longest - 1))


# ---- the page


@pytest.mark.browser
@needs_browser
def test_the_form_says_what_a_render_takes(page):  # noqa: F811
    page.wait_for_selector("#estimate span:text-matches('^Memory: about [0-9.]+ MiB')")
    page.select_option("#method", "none")
    page.uncheck("#none")
    page.fill("#steps", "1")
    page.fill("#size", "60x60")  # a phrase, and no message of an error
    page.wait_for_selector("#estimate span:text('not known before rendering')")
    assert page.locator(".message.bad").count() == 0

    # the list fills the field, and follows it
    assert page.eval_on_selector("#shape", "e => e.selectedOptions[0].text") == "another size"
    page.select_option("#shape", label="landscape: 88x40")
    assert page.input_value("#size") == "88x40"
    page.fill("#size", "40x88")
    assert page.eval_on_selector("#shape", "e => e.selectedOptions[0].text") == "portrait: 40x88"
    page.fill("#size", "")
    assert page.eval_on_selector("#shape", "e => e.selectedOptions[0].text") == "native: 64x64"
    assert page.get_attribute("#size", "placeholder") == "64x64"

    # once it has rendered there is a time
    page.fill("#frames", "2")
    page.click("#render")
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
    page.wait_for_selector("#estimate span:text-matches('Time: about [0-9.]+ s')")


@pytest.mark.browser
@needs_browser
def test_an_estimate_is_no_part_of_a_render(page):  # noqa: F811
    """A server that counts for long, or not at all, holds up nobody."""
    page.route("**/api/estimate", lambda route: None)
    page.select_option("#method", "none")
    page.uncheck("#none")
    page.fill("#steps", "1")
    page.fill("#frames", "2")
    page.wait_for_selector("#estimate span:text('being counted')")
    page.click("#render")
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
