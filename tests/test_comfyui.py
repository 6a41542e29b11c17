"""The nodes for ComfyUI: its published interface, and what each node gives; the editor in a real browser."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import CHROMIUM, needs_browser

from animatic import AnimaticError, Scene, Track

FOLDER = Path(__file__).parents[1] / "integrations" / "comfyui"
LEFT, RIGHT = (0.0, 0.25, 0.25, 0.75), (0.75, 0.25, 1.0, 0.75)
SCENE = Scene("a ball and a cat", (Track("a ball", (LEFT, RIGHT)), Track("a cat", (None, LEFT))))
SOCKETS = {"IMAGE", "MASK", "CONDITIONING", "CLIP", "GLIGEN", "ANIMATIC_SCENE"}
WIDGETS = {"INT", "FLOAT", "STRING"}


class Clip:
    """What the nodes ask of ComfyUI's CLIP; the states of a text are its length."""

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, tokens: str) -> list:
        return [[torch.full((1, 1, 4), float(len(tokens))), {"pooled_output": torch.zeros(1, 4)}]]

    def encode_from_tokens(self, tokens: str, return_pooled: str) -> tuple:
        assert return_pooled == "unprojected"
        return torch.zeros(1, 1, 4), torch.full((1, 4), float(len(tokens)))


@pytest.fixture(scope="module")
def pack() -> ModuleType:
    """The folder as ComfyUI imports it: a package of its own, by its path."""
    spec = importlib.util.spec_from_file_location("comfy_pack", FOLDER / "__init__.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["comfy_pack"] = module
    spec.loader.exec_module(module)
    return module


def run(pack: ModuleType, node: str, **inputs):
    """A node with its inputs, of which those not given are the defaults, as ComfyUI calls it."""
    kind = pack.NODE_CLASS_MAPPINGS[node]
    declared = kind.INPUT_TYPES()["required"]
    defaults = {name: spec[1]["default"] for name, spec in declared.items() if len(spec) > 1 and "default" in spec[1]}
    result = getattr(kind(), kind.FUNCTION)(**{**defaults, **inputs})
    values = result["result"] if isinstance(result, dict) else result
    assert len(values) == len(kind.RETURN_TYPES)
    return values


def test_every_node_is_declared_as_comfyui_reads_it(pack) -> None:
    assert pack.NODE_CLASS_MAPPINGS.keys() == pack.NODE_DISPLAY_NAME_MAPPINGS.keys()
    assert (FOLDER / pack.WEB_DIRECTORY / "scene_editor.js").is_file()
    for name, kind in pack.NODE_CLASS_MAPPINGS.items():
        assert kind.CATEGORY and callable(getattr(kind, kind.FUNCTION)), name
        assert set(kind.RETURN_TYPES) <= SOCKETS | WIDGETS
        assert len(getattr(kind, "RETURN_NAMES", kind.RETURN_TYPES)) == len(kind.RETURN_TYPES)
        groups = kind.INPUT_TYPES()
        assert set(groups) <= {"required", "optional", "hidden"}
        for spec in (spec for group in groups.values() for spec in group.values()):
            assert isinstance(spec, tuple) and (isinstance(spec[0], list) or spec[0] in SOCKETS | WIDGETS)
            assert len(spec) == 1 or isinstance(spec[1], dict)


def test_a_planned_scene_is_edited_and_kept(pack) -> None:
    scene, text = run(pack, "AnimaticPlanScene", prompt="A bear walks from the left to the right")
    assert [track.phrase for track in scene.tracks] == ["bear"] and json.loads(text)["prompt"] == scene.prompt
    assert run(pack, "AnimaticEditScene", scene=scene)[0] == scene
    edited = SCENE.to_json()
    assert run(pack, "AnimaticEditScene", json=edited, scene=scene)[0] == SCENE
    for bad, reason in (("", "no scene"), ("{", "no JSON"), ("[" * 99999, "no JSON"), ('{"prompt": ""}', "prompt")):
        with pytest.raises(AnimaticError, match=reason):
            run(pack, "AnimaticEditScene", json=bad)


def test_masks_are_white_inside_the_boxes(pack) -> None:
    (ball,) = run(pack, "AnimaticSceneMasks", scene=SCENE, frames=2, width=16, height=16, track=0)
    assert ball.shape == (2, 16, 16) and ball[0, 4:12, :4].all() and ball[0].sum() == 32
    (both,) = run(pack, "AnimaticSceneMasks", scene=SCENE, frames=2, width=16, height=16)
    assert both[1].sum() == 64 and both.dtype == torch.float32
    with pytest.raises(AnimaticError, match="the scene has 2"):
        run(pack, "AnimaticSceneMasks", scene=SCENE, track=2)


def test_boxes_of_each_frame(pack) -> None:
    first, last = json.loads(run(pack, "AnimaticSceneBoxes", scene=SCENE, frames=2)[0])
    assert first == {"gligen_phrases": ["a ball"], "gligen_boxes": [list(LEFT)]}
    assert last["gligen_phrases"] == ["a ball", "a cat"]


def test_words_are_conditioned_on_their_regions(pack) -> None:
    inputs = {"scene": SCENE, "clip": Clip(), "frames": 2, "width": 16, "height": 16}
    whole, ball = run(pack, "AnimaticRegionalConditioning", frame=0, strength=0.5, **inputs)[0]
    assert "mask" not in whole[1] and whole[0][0, 0, 0] == len(SCENE.prompt)
    assert ball[0][0, 0, 0] == len("a ball") and ball[1]["mask_strength"] == 0.5
    assert ball[1]["mask"].shape == (1, 16, 16) and ball[1]["mask"].sum() == 32
    assert len(run(pack, "AnimaticRegionalConditioning", frame=1, **inputs)[0]) == 3
    with pytest.raises(AnimaticError, match="frame is 2"):
        run(pack, "AnimaticRegionalConditioning", frame=2, **inputs)


def test_gligens_boxes_are_added_in_latent_cells(pack) -> None:
    before = [[torch.zeros(1), {"gligen": ("position", "model", ["old"])}]]
    inputs = {"scene": SCENE, "clip": Clip(), "gligen_textbox_model": "model", "frame": 1, "frames": 2}
    (conditioning,) = run(pack, "AnimaticGligenConditioning", conditioning=before, width=512, height=256, **inputs)
    kind, model, placed = conditioning[0][1]["gligen"]
    assert (kind, model, placed[0]) == ("position", "model", "old")
    assert [place[1:] for place in placed[1:]] == [(16, 16, 8, 48), (16, 16, 8, 0)]  # height, width, y, x
    assert before[0][1]["gligen"][2] == ["old"]  # other nodes have the same conditioning


def test_a_scene_is_rendered_and_drawn(pack) -> None:
    frames, fps = run(pack, "AnimaticRenderScene", scene=SCENE, method="none", steps=1)
    assert frames.shape[1:] == (64, 64, 3) and frames.dtype == torch.float32 and fps > 0
    assert 0 <= frames.min() < frames.max() <= 1
    (drawn,) = run(pack, "AnimaticPreviewScene", scene=SCENE, frames=2, width=64, height=32)
    assert drawn.shape == (2, 32, 64, 3)


STUB = """
globalThis.extensions = [];
export const app = { registerExtension: (extension) => globalThis.extensions.push(extension) };
"""
PAGE = """<!doctype html><body><script type="module">
import "./extensions/animatic/scene_editor.js";
class Node {
  widgets = [{ name: "json", value: "" }];
  addDOMWidget(name, type, root) { root.style.width = "256px"; document.body.append(root); }
}
await extensions[0].beforeRegisterNodeDef(Node, { name: "AnimaticEditScene" });
globalThis.node = new Node();
node.onNodeCreated();
</script></body>"""


@pytest.mark.browser
@needs_browser
def test_boxes_are_dragged_on_the_node() -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    files = {
        "/": ("text/html", PAGE),
        "/extensions/animatic/scene_editor.js": ("text/javascript", (FOLDER / "web/scene_editor.js").read_text()),
        "/scripts/app.js": ("text/javascript", STUB),
    }

    def answer(route) -> None:
        kind, body = files["/" + route.request.url.split("/", 3)[3]]
        route.fulfill(content_type=kind, body=body)

    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route("**/*", answer)
        page.goto("http://comfy.test/")
        page.wait_for_function("globalThis.node?.animatic")
        page.evaluate("text => node.onExecuted({ scene: [text] })", SCENE.to_json())

        # The ball at the first key frame, from its middle to the right; it stays in the frame.
        stage = page.locator("canvas").bounding_box()
        page.mouse.move(stage["x"] + 32, stage["y"] + 128)
        page.mouse.down()
        page.mouse.move(stage["x"] + 96, stage["y"] + 250, steps=4)
        page.mouse.up()
        edited = json.loads(page.evaluate("node.widgets[0].value"))
        assert edited["tracks"][0]["boxes"] == [[0.25, 0.5, 0.5, 1], list(RIGHT)]

        # Its lower right corner, to half its width.
        page.mouse.move(stage["x"] + 126, stage["y"] + 254)
        page.mouse.down()
        page.mouse.move(stage["x"] + 94, stage["y"] + 254, steps=2)
        page.mouse.up()
        box = json.loads(page.evaluate("node.widgets[0].value"))["tracks"][0]["boxes"][0]
        assert box == pytest.approx([0.25, 0.5, 0.375, 1])
        assert errors == []
        browser.close()
