"""The widget of a scene in a notebook, and the notebook of the examples from top to bottom."""

import json
from pathlib import Path

import pytest
from conftest import CHROMIUM, needs_browser

pytest.importorskip("anywidget", reason="the notebook's extra is not installed")
import traitlets

from animatic import AnimaticError, Scene, Track
from animatic import notebook as package
from animatic.notebook import SceneWidget

EXAMPLES = Path(__file__).parents[1] / "examples"
LEFT, RIGHT = (0.0, 0.25, 0.25, 0.75), (0.75, 0.25, 1.0, 0.75)
SCENE = Scene("a ball and a cat", (Track("a ball", (LEFT, RIGHT)), Track("a cat", (None, LEFT))))


def test_a_scene_goes_to_the_page_and_comes_back() -> None:
    widget = SceneWidget(SCENE)
    assert widget.scene == SCENE

    # What the page sends.
    moved = json.loads(widget.text)
    moved["tracks"][0]["boxes"][0] = [0.5, 0.25, 0.75, 0.75]
    widget.set_state({"text": json.dumps(moved)})
    assert widget.scene.tracks[0].boxes[0] == (0.5, 0.25, 0.75, 0.75)
    widget.scene = SCENE
    assert widget.scene == SCENE


@pytest.mark.parametrize("bad", ["", "{", "[]", '{"prompt": "a"', "[" * 99999, '{"prompt": "", "tracks": []}'])
def test_what_is_no_scene_is_refused_and_the_scene_stays(bad: str) -> None:
    widget = SceneWidget(SCENE)
    with pytest.raises(traitlets.TraitError, match="no scene"):
        widget.text = bad
    assert widget.scene == SCENE
    with pytest.raises(AnimaticError, match="scene is str"):
        SceneWidget("a cat")  # pyright: ignore[reportArgumentType]


@pytest.mark.slow("a kernel of its own, and two renders")
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    notebook = nbformat.read(EXAMPLES / "scene.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # outputs are not kept in the repository

    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert sum("data:video/mp4;base64," in data.get("text/html", "") for data in shown) == 3
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
    assert (tmp_path / "bear.svg").read_text().startswith("<?xml")


PAGE = """<!doctype html><body><script type="module">
import widget from "./widget.js";
const heard = [];
globalThis.saved = [];
globalThis.model = {
  text: "",
  get: () => model.text,
  set: (name, value) => { model.text = value; heard.forEach((listener) => listener()); },
  on: (name, listener) => heard.push(listener),
  off: () => heard.pop(),
  save_changes: () => saved.push(model.text),
};
globalThis.start = (text) => { model.text = text; widget.render({ model, el: document.body }); };
</script></body>"""


@pytest.mark.browser
@needs_browser
def test_boxes_are_dragged_and_python_hears_of_it_once() -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    script = Path(package.__file__).with_name("widget.js").read_text()

    def answer(route) -> None:
        if route.request.url.endswith("widget.js"):
            route.fulfill(content_type="text/javascript", body=script)
        else:
            route.fulfill(content_type="text/html", body=PAGE)

    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route("**/*", answer)
        page.goto("http://notebook.test/")
        page.wait_for_function("!!globalThis.start")
        page.evaluate("text => start(text)", SCENE.to_json())

        stage = page.locator("canvas").bounding_box()
        page.mouse.move(stage["x"] + 48, stage["y"] + 192)
        page.mouse.down()
        page.mouse.move(stage["x"] + 144, stage["y"] + 192, steps=5)
        page.mouse.up()
        (saved,) = page.evaluate("saved")
        assert json.loads(saved)["tracks"][0]["boxes"][0] == [0.25, 0.25, 0.5, 0.75]

        # Keys move the box that was clicked, and it stays in the frame.
        page.locator("canvas").press("ArrowUp")
        for _ in range(20):
            page.locator("canvas").press("ArrowUp")
        box = json.loads(page.evaluate("model.text"))["tracks"][0]["boxes"][0]
        assert box == pytest.approx([0.25, 0, 0.5, 0.5])

        # At the other key frame both are there; the cat is in front of nothing, and is dragged by its corner.
        page.locator("input").press("ArrowRight")
        page.mouse.move(stage["x"] + 94, stage["y"] + 286)
        page.mouse.down()
        page.mouse.move(stage["x"] + 190, stage["y"] + 286, steps=3)
        page.mouse.up()
        cat = json.loads(page.evaluate("model.text"))["tracks"][1]["boxes"][1]
        assert cat == pytest.approx([0, 0.25, 0.5, 0.75])
        assert errors == []
        browser.close()
