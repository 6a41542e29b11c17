"""The studio's page, driven as a person would: a real browser, a real server, the bundled model."""

import faulthandler
import json
import socket

import pytest
from conftest import CHROMIUM, needs_browser

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from animatic import Video
from animatic.benchmarks.detect import overlap
from animatic.studio.api import Api
from animatic.studio.server import serve
from animatic.studio.work import Studio
from animatic.toy.detector import ToyDetector

pytestmark = [pytest.mark.browser, needs_browser]
BEAR = "A bear walks from the left to the right"
PATIENCE = 240_000  # milliseconds: where every core is busy, the page shares one with the server's first rehearsal


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = serve(Api(Studio(tmp_path_factory.mktemp("house") / "studio", models=("mini",))), port=port)
    yield running
    running.close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """The page, freshly opened by somebody new; fails where it complained or asked anybody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    faulthandler.dump_traceback_later(PATIENCE / 1000 - 20)  # what the server does where the page does not come
    try:
        page.goto(server.url)
        page.wait_for_selector(".box")
    finally:
        faulthandler.cancel_dump_traceback_later()
    yield page
    assert said == [] and [url for url in asked if not url.startswith((server.url, "blob:", "data:"))] == []
    context.close()


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place of the stage to another, in fractions of it."""
    stage = page.locator("#stage").bounding_box()
    for i, (x, y) in enumerate((start, end)):
        page.mouse.move(stage["x"] + x * stage["width"], stage["y"] + y * stage["height"], steps=4)
        page.mouse.up() if i else page.mouse.down()


def story(page) -> list:
    return json.loads(page.evaluate("localStorage['animatic.story']"))


def test_plan_drag_render_measure_download_reload_gallery(page, tmp_path):
    page.fill("#prompt", BEAR)
    page.press("#prompt", "Enter")
    page.wait_for_selector("text=Planned: 1 x bear")
    page.click('[aria-label="Key frame 3"]')
    x0, y0, x1, y1 = story(page)[0]["tracks"][0]["boxes"][2]
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    drag(page, middle, (middle[0] + 0.2, middle[1] - 0.2))
    dragged = story(page)[0]["tracks"][0]["boxes"][2]
    assert dragged == pytest.approx([x0 + 0.2, y0 - 0.2, x1 + 0.2, y1 - 0.2], abs=0.02)
    page.select_option("#method", "lvd-gligen")
    page.fill("#steps", "12")
    page.fill("#frames", "6")  # so that key frames are frames
    page.uncheck("#none")
    page.click("#render")
    page.wait_for_selector("#preview:not([hidden])", timeout=60_000)
    assert "s left" in page.inner_text("#eta")
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
    with page.expect_download() as download:
        page.click("#result a:text('mp4')")
    assert download.value.suggested_filename == "a-bear-walks-from-the-left-to-the-right-lvd-gligen.mp4"
    download.value.save_as(tmp_path / "bear.mp4")
    video = Video.load(tmp_path / "bear.mp4")
    small = video.frames[:, 2::4, 2::4]  # as it was generated: the file is enlarged four times
    finds = ToyDetector().find(small, ["bear"])[2]
    assert len(finds) == 1 and overlap(finds[0].box, tuple(dragged)) > 0.4
    cx, cy = ((finds[0].box[k] + finds[0].box[k + 2]) / 2 for k in (0, 1))
    assert dragged[0] < cx < dragged[2] and dragged[1] < cy < dragged[3]
    page.uncheck("#result input[type=checkbox]")
    assert page.locator("#result .box:visible").count() == 0
    page.reload()
    page.wait_for_selector(".box")
    assert story(page)[0]["tracks"][0]["boxes"][2] == dragged
    page.click("#to-gallery")
    page.fill("#search", "bear gligen")
    page.click("#cards button:text('Open')")
    page.wait_for_selector("#result video")
    assert page.input_value("#method") == "lvd-gligen"


def test_the_editor(page):
    boxes = page.locator("#stage .box")
    drag(page, (0.05, 0.35), (0.25, 0.15))  # upwards: inverted while it is drawn
    page.keyboard.type("ball\n")
    assert story(page)[0]["tracks"][1]["phrase"] == "ball" and boxes.count() == 2
    assert story(page)[0]["tracks"][1]["boxes"][0] == pytest.approx([0.05, 0.15, 0.25, 0.35], abs=0.01)
    boxes.nth(1).focus()
    before = story(page)[0]["tracks"][1]["boxes"][0]
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Alt+ArrowUp")
    after = story(page)[0]["tracks"][1]["boxes"][0]
    assert after == pytest.approx([before[0] + 0.05, before[1], before[2] + 0.05, before[3] - 0.01], abs=1e-3)
    page.keyboard.press("h")
    assert story(page)[0]["tracks"][1]["boxes"][0] is None and boxes.count() == 1
    page.click("#undo")
    assert story(page)[0]["tracks"][1]["boxes"][0] == after
    page.click("#redo")
    assert boxes.count() == 1
    page.click("#undo")
    drag(page, (after[0] + 0.1, after[1] + 0.1), (3, 3))  # far outside: held at the edge
    assert story(page)[0]["tracks"][1]["boxes"][0][2:] == [1, 1]
    page.click("#key-add")
    assert {len(t["boxes"]) for t in story(page)[0]["tracks"]} == {7}
    page.click("#key-remove")
    page.click('[aria-label="Add a copy of this scene"]')
    assert len(story(page)) == 2 and page.locator("#tabs [aria-pressed=true]").inner_text() == "Scene 2"
    with page.expect_download() as download:
        page.click("#export")
    assert download.value.suggested_filename == "story.json"
    told = download.value.path()
    page.click('[aria-label="Remove this scene"]')
    page.set_input_files("#file", told)
    page.wait_for_selector("text=Read")
    assert len(story(page)) == 2
    page.locator("#stage").focus()
    page.keyboard.press("Space")
    first = page.locator("#stage .box").first.bounding_box()
    page.wait_for_timeout(600)
    assert page.locator("#stage .box").first.bounding_box() != first and page.inner_text("#play") == "Stop"
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Play"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("film.json", b"\x00\x00\x00\x20ftypisom\xff\xfe", "film.json is not JSON"),
        ("huge.json", b" " * 3_000_000, "huge.json has 3.0 MB; at most 2"),
    ],
)
def test_a_bad_file_is_told_and_the_work_kept(page, name, content, message):
    before = story(page) if page.evaluate("'animatic.story' in localStorage") else None
    page.set_input_files("#file", files=[{"name": name, "mimeType": "application/json", "buffer": content}])
    page.wait_for_selector(f"text={message}")
    assert page.locator("#stage .box").count() == 1
    assert before is None or story(page) == before


def test_two_tabs_with_one_scene(page, server):
    other = page.context.new_page()
    other.goto(server.url)
    other.wait_for_selector(".box")
    other.locator(".box").first.focus()
    other.keyboard.press("ArrowDown")
    page.wait_for_selector("text=changed in another tab")
    page.click("text=Take the other")
    mine, theirs = (p.locator(".box").first.get_attribute("aria-label") for p in (page, other))
    assert mine == theirs


def test_the_last_video_lies_under_its_boxes(page):
    def until(condition):
        """Wait until the time and duration of the video under the boxes are as wanted."""
        for _ in range(100):
            time, duration = page.eval_on_selector("#latest", "video => [video.currentTime, video.duration]")
            if duration and condition(time / duration):
                return
            page.wait_for_timeout(100)
        pytest.fail(f"the video is at {time} of {duration}")

    page.fill("#steps", "1")
    page.click("#render")
    page.wait_for_selector("#latest:visible", timeout=120_000)
    until(lambda at: at < 0.1)
    page.click("#keys th:last-child button")
    until(lambda at: at > 0.9)

    # Playing shows it in time; it can be taken away.
    page.click("#play")
    until(lambda at: 0 < at < 0.5)
    page.click("#play")
    page.uncheck("#latest-shown")
    assert page.is_hidden("#latest") and page.is_visible(".box")


def test_cancel_on_the_page(page):
    page.fill("#steps", "200")
    page.click("#render")
    page.wait_for_selector("#cancel:visible")
    page.wait_for_selector("#preview:not([hidden])", timeout=60_000)
    page.click("#cancel")
    page.wait_for_selector("text=Stopped.", timeout=4000)
    assert page.is_enabled("#render")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(page, scheme):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    for place in ("#to-studio", "#to-gallery"):
        page.click(place)
        found = axe.Axe().run(page).response["violations"]
        serious = [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]
        assert serious == []
