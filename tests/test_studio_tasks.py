"""Ten tasks of somebody new in the studio, in the clicks that the guide says; and a story's frames there."""

import json
import re
import shutil
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

import pytest
from conftest import CHROMIUM, FIREFOX, close_frames, needs_browser, needs_firefox

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from test_studio_page import page, server  # noqa: F401 - fixtures

from animatic import Video

pytestmark = [pytest.mark.browser]
GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "studio.md"
STORY = "A red ball moves to the right on the grass. Then a bear walks to the left in the snow."
RENDERED = 120_000  # milliseconds that a render may take on a busy machine


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """Where Firefox puts what is downloaded."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(
    scope="module",
    params=[pytest.param("chromium", marks=needs_browser), pytest.param("firefox", marks=needs_firefox)],
)
def browser(request, downloads):
    """Debian's browsers: Chromium by its own protocol, Firefox by WebDriver BiDi."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        if request.param == "chromium":
            browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        else:
            browser = firefox(p, downloads, playwright.Error)
        yield browser
        browser.close()


def firefox(p, downloads, error: type[Exception]):
    """Debian's Firefox; the test is skipped where its WebDriver BiDi lacks a command of a newer playwright.

    Of 1.65 that is so with Firefox 153, when it makes a context; of 1.64 with Firefox 140, when it is launched.
    """
    try:
        browser = p.firefox.launch(channel="moz-firefox", executable_path=FIREFOX, downloads_path=downloads)
        browser.new_context().close()
    except error as problem:
        command = str(problem).splitlines()[0]
        if "unknown command" not in command:
            raise
        pytest.skip(f"this playwright is newer than Firefox ({command}); want that of constraints.txt, and Firefox 153")
    return browser


def type_over(page, selector: str, text: str) -> None:  # noqa: F811
    """Type in place of what a field holds: in Firefox `fill` adds to a number, and its change is not told."""
    page.focus(selector)
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


class Hand:
    """A person's hand on the page; it counts what it does.

    `clicks` are clicks, drags, ticks, choices in a list and files chosen, one each; `fields` are those typed into.
    """

    def __init__(self, page):  # noqa: F811
        self.page = page
        self.clicks = self.fields = 0

    def click(self, selector: str) -> None:
        self.page.click(selector)
        self.clicks += 1

    def choose(self, selector: str, value: str) -> None:
        self.page.select_option(selector, value)
        self.clicks += 1

    def fill(self, selector: str, text: str) -> None:
        type_over(self.page, selector, text)
        self.fields += 1

    def drag(self, selector: str, x: float, y: float) -> None:
        """Drag an element by its middle, by pixels."""
        area = self.page.locator(selector).bounding_box()
        middle = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
        self.page.mouse.move(*middle)
        self.page.mouse.down()
        self.page.mouse.move(middle[0] + x, middle[1] + y, steps=4)
        self.page.mouse.up()
        self.clicks += 1

    def save(self, selector: str, path: Path) -> Path:
        """Click what downloads a file."""
        with self.page.expect_download() as download:
            self.click(selector)
        download.value.save_as(path)
        return path

    def export(self, path: Path, downloads: Path) -> Path:
        """Export the story. BiDi tells of no download that a page makes itself; the file comes all the same."""
        if self.page.context.browser.browser_type.name == "chromium":
            return self.save("#export", path)
        self.click("#export")
        while not (found := [file for file in downloads.glob("*.json") if file.stat().st_size]):
            self.page.wait_for_timeout(50)
        return found[0].rename(path)

    def open(self, selector: str, path: Path) -> None:
        """Click what asks for a file, and choose it."""
        with self.page.expect_file_chooser() as chooser:
            self.click(selector)
        chooser.value.set_files(path)
        self.clicks += 1


# ---- what is on the page


def scenes(page) -> list:  # noqa: F811
    """The scenes as the page has them now."""
    return page.evaluate("async () => (await import('/state.js')).state.story")


def make_quick(page) -> None:  # noqa: F811
    """The least that can be rendered, so that the tests are quick; no part of a task."""
    with page.expect_response("**/api/fields"):
        page.select_option("#method", "none")
    page.wait_for_load_state("networkidle")  # what the fields of the method move would be missed by a click
    page.uncheck("#none")
    type_over(page, "#steps", "1")
    type_over(page, "#frames", "2")


def takes(page, names: list[str]) -> None:  # noqa: F811
    """Wait until the result shows takes with these names."""
    page.wait_for_selector("#progress", state="hidden", timeout=RENDERED)
    shown = "[...document.querySelectorAll('#result figcaption strong')].map(e => e.innerText)"
    page.wait_for_function(f"names => String({shown}) === String(names)", arg=names, timeout=RENDERED)


def rendered(page) -> None:  # noqa: F811
    """A page on which one video was rendered, uncounted."""
    make_quick(page)
    page.click("#render")
    takes(page, ["none"])


# ---- the tasks, by the names that they have in the guide


def plan_and_render(page, hand, folder):  # noqa: F811
    make_quick(page)
    hand.fill("#prompt", "A cat walks to the left")
    page.press("#prompt", "Tab")
    assert page.is_visible("#unplanned")  # the boxes are still those of the bear
    hand.click("#planning button.primary")
    page.wait_for_selector("text=Planned: 1 x cat")
    assert page.is_hidden("#unplanned")
    hand.click("#render")
    takes(page, ["none"])
    assert page.inner_text("#result h2") == "A cat walks to the left"


def move_a_box(page, hand, folder):  # noqa: F811
    before = scenes(page)[0]["tracks"][0]["boxes"]
    hand.drag("#stage .box", 60, -40)
    after = scenes(page)[0]["tracks"][0]["boxes"]
    assert after[0][0] > before[0][0] and after[0][1] < before[0][1]
    assert after[1:] == before[1:]


def another_colour(page, hand, folder):  # noqa: F811
    hand.choose("#tracks select", "blue")
    (scene,) = scenes(page)
    assert scene["tracks"][0]["phrase"] == "blue bear" and scene["prompt"].startswith("A blue bear")


def key_frame_between(page, hand, folder):  # noqa: F811
    before = len(scenes(page)[0]["tracks"][0]["boxes"])
    hand.click('[aria-label="Key frame 2"]')
    hand.click("#key-add")
    hand.drag("#stage .box", 0, -40)
    (scene,) = scenes(page)
    rows = scene["tracks"][0]["boxes"]
    assert len(rows) == before + 1
    assert scene["times"][2] == pytest.approx((scene["times"][1] + scene["times"][3]) / 2)
    assert rows[2][1] < min(rows[1][1], rows[3][1])


def three_takes(page, hand, folder):  # noqa: F811
    make_quick(page)
    hand.fill("#takes", "3")
    hand.click("#render")
    takes(page, [f"none, seed {seed}" for seed in (1, 2, 3)])
    hand.click('[aria-label="Best: none, seed 2"]')
    page.wait_for_selector("figure.best")
    # what follows is of the best take
    for form in ("Finish", "Edit", "More like this"):
        assert page.input_value(f'form[aria-label="{form}"] select >> nth=0') == "1"
    # and it is still the best where the result is drawn anew
    page.select_option("#language", "de")
    page.wait_for_selector("#result summary:text('Vorher')")
    assert page.get_attribute("figure.best", "data-take") == "1"


def story_in_another_order(page, hand, folder):  # noqa: F811
    hand.choose("#kind", "story")
    hand.fill("#prompt", STORY)
    with page.expect_response("**/api/fields"):
        hand.click("#planning button.primary")
    hand.click('[aria-label="Move this scene later"]')
    assert [scene["tracks"][0]["phrase"] for scene in scenes(page)] == ["bear", "red ball"]


def finish_and_compare(page, hand, folder):  # noqa: F811
    rendered(page)
    hand.choose('form[aria-label="Finish"] select >> nth=1', "upscale:2")
    hand.click('form[aria-label="Finish"] button')
    takes(page, ["none, then upscale:2"])
    hand.click("#result summary:text('Before and after')")
    page.wait_for_selector(".before-after .above")
    compared = page.locator(".before-after select").evaluate_all("all => all.map(e => e.selectedOptions[0].text)")
    assert compared == ["before: none", "none, then upscale:2"]


def swap_a_word(page, hand, folder):  # noqa: F811
    rendered(page)
    hand.fill('form[aria-label="Edit"] input >> nth=0', "bear")
    hand.fill('form[aria-label="Edit"] input >> nth=1', "cat")
    hand.click('form[aria-label="Edit"] button')
    takes(page, ["edited", "before"])
    assert page.inner_text("#result h2").startswith("A cat")


def project_out_and_in(page, hand, folder):  # noqa: F811
    rendered(page)
    hand.click("#to-gallery")
    page.wait_for_selector("#cards li")
    before = page.locator("#cards li").count()
    hand.click("#cards input[type=checkbox] >> nth=0")
    project = hand.save("#project-export", folder / "project.zip")
    hand.open("#project-import", project)
    page.wait_for_selector(f"#cards li >> nth={before}")


def open_with_another_method(page, hand, folder):  # noqa: F811
    rendered(page)
    page.reload()
    page.wait_for_selector(".box")
    hand.click("#to-gallery")
    with page.expect_response("**/api/fields"):
        hand.click("#cards button:text('Open') >> nth=0")
    with page.expect_response("**/api/fields"):
        hand.choose("#method", "lvd")
    hand.click("#render")
    takes(page, ["lvd", "before: none"])  # next to the one that was opened
    assert page.input_value("#steps") == "1"
    assert page.locator("#result [data-take]").count() == 1  # marks are for what was made now


TASKS = {
    "plan a prompt and render it": plan_and_render,
    "move a box": move_a_box,
    "give an object another colour": another_colour,
    "add a key frame between two and move its box": key_frame_between,
    "render three takes and pin the best": three_takes,
    "plan a story and put its scenes in another order": story_in_another_order,
    "finish a video and compare it with the one before": finish_and_compare,
    "edit by another word": swap_a_word,
    "export a project and import it": project_out_and_in,
    "open a video of the gallery and render it with another method": open_with_another_method,
}


def table() -> dict[str, tuple[int, int]]:
    """The guide's tasks with their clicks and fields."""
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d+) \| [^|]+ \|$", GUIDE.read_text(), re.MULTILINE)
    return {task: (int(clicks), int(fields)) for task, clicks, fields in rows}


def test_the_guide_lists_the_tasks():
    assert list(table()) == list(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_takes_the_clicks_of_the_guide(name, page, tmp_path):  # noqa: F811
    hand = Hand(page)
    TASKS[name](page, hand, tmp_path)
    assert (hand.clicks, hand.fields) == table()[name]


# ---- the frames of a story


def test_a_story_has_the_frames_of_the_command_line(page, server, here, tmp_path, downloads):  # noqa: F811
    """Planned, put in another order and rendered on the page; exported there and rendered by `animatic render`."""
    story_in_another_order(page, Hand(page), tmp_path)
    page.select_option("#tabs .join select", "crossfade")
    method = page.input_value("#stack") or page.input_value("#method")
    for field, text in {"#steps": "3", "#seed": "7", "#size": "48x64"}.items():
        type_over(page, field, text)
    page.uncheck("#none")
    page.click("#render")
    takes(page, [method])
    link = page.get_attribute("#result a:text('mp4')", "href")

    # the file without loss lies beside the one that the page plays
    with (
        urllib.request.urlopen(urljoin(server.url, link).replace(".mp4", ".mkv")) as answer,
        open("studio.mkv", "wb") as file,
    ):
        shutil.copyfileobj(answer, file)
    exported = Hand(page).export(tmp_path / "exported.json", downloads)
    assert len(json.loads(exported.read_text())["scenes"]) == 2
    sampling = [
        "--model",
        "mini",
        "--method",
        method,
        "--seed",
        "7",
        "--steps",
        "3",
        "--size",
        "48x64",
        "--transitions",
        "crossfade:4",
    ]
    code, _, error = here("render", str(exported), *sampling, "-o", "command.mkv")
    assert code == 0, error

    studio, command = Video.load("studio.mkv"), Video.load("command.mkv")
    assert close_frames(studio.frames, command.frames) and studio.fps == command.fps
    assert studio.request.story == command.request.story
