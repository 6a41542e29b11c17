"""The studio's queue: jobs are put earlier or later, also after a restart, and the page lists what waits."""

import time

import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from conftest import needs_browser
from studio_server import slow_steps  # noqa: F401 - a fixture
from test_studio_page import browser, page, server  # noqa: F401 - fixtures
from test_studio_takes_page import serious_violations

from animatic import Scene, Track
from animatic.errors import AnimaticError
from animatic.request import GenerationRequest, SamplingOptions
from animatic.studio import work
from animatic.studio.api import Api
from animatic.studio.job_request import JobRequest
from animatic.studio.log import DONE, RUNNING, Log, Refused
from animatic.studio.queue_order import FILE
from animatic.studio.work import Studio

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
pytestmark = pytest.mark.usefixtures("slow_steps")
BEAR = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))


def queued(studio: Studio, steps: int = 1, frames: int = 1, seed: int = 0) -> str:
    sampling = SamplingOptions(seed=seed, steps=steps, frames=frames)
    request = GenerationRequest((BEAR,), "mini", method="none", sampling=sampling)
    return studio.submit("render", JobRequest(request).to_dict()).id


def held(studio: Studio) -> str:
    """A job that is at work, and long."""
    name = queued(studio, steps=200)
    until(lambda: studio.log.get(name).state == RUNNING)
    return name


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def done_in_order(studio: Studio, names: list[str]) -> list[str]:
    """Names of jobs by the time they were made."""
    until(lambda: all(studio.log.get(name).state == DONE for name in names))
    return sorted(names, key=lambda name: (studio.log.folder / name / "1-none.mp4").stat().st_mtime_ns)


def order(studio: Studio) -> list[str]:
    return [job["id"] for job in studio.queue()]


@pytest.fixture
def studio(tmp_path):
    studio = Studio(tmp_path, models=("mini",))
    yield studio
    studio.close()


def test_jobs_are_done_in_the_order_of_the_queue(studio):
    first = held(studio)
    a, b, c = (queued(studio, seed=seed) for seed in range(3))
    assert order(studio) == [first, a, b, c]
    studio.move(c, 1)
    assert order(studio) == [first, c, a, b]
    studio.move(a, 99)  # at the end
    later = queued(studio)  # behind what was moved
    assert order(studio) == [first, c, b, a, later]
    assert [job["place"] for job in studio.queue()[1:]] == [1, 2, 3, 4]
    studio.cancel(b)
    studio.cancel(first)
    assert done_in_order(studio, [a, c, later]) == [c, a, later]
    assert order(studio) == []


def test_only_what_waits_is_moved(studio):
    first = held(studio)
    api = Api(studio)
    with pytest.raises(Refused, match="is running; want one that waits"):
        api.move(first, 1)
    with pytest.raises(Refused, match="no job is called 'nobody'"):
        api.move("nobody", 1)
    waiting = queued(studio)
    assert [job["id"] for job in api.move(waiting, 1)["jobs"]] == [first, waiting]
    studio.cancel(waiting)


def test_the_order_outlives_a_restart(tmp_path):
    studio = Studio(tmp_path, models=("mini",))
    first = held(studio)
    a, b, c = (queued(studio, seed=seed) for seed in range(3))
    studio.move(c, 1)
    studio.close()

    # the job at hand is first again
    again = Studio(tmp_path, models=("mini",))
    try:
        assert order(again) == [first, c, a, b]
        again.cancel(first)
        assert done_in_order(again, [a, b, c]) == [c, a, b]
    finally:
        again.close()


@pytest.mark.parametrize(
    "text", ["[", "{}", '{"version": 2, "order": []}', '{"version": 1, "order": [3]}', "[]", "null"]
)
def test_a_damaged_order_is_that_of_coming(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.warns(UserWarning, match="is damaged; jobs are done in the order they came"):
        studio = Studio(tmp_path, models=("mini",))
    try:
        names = [held(studio), queued(studio), queued(studio)]
        assert order(studio) == names
    finally:
        studio.close()


def test_an_order_that_cannot_be_written_is_as_before(studio, monkeypatch):
    names = [held(studio), queued(studio), queued(studio)]

    def full(*_):
        raise AnimaticError("queue.json: cannot be written (No space left on device)")

    monkeypatch.setattr("animatic.studio.queue_order.write_atomically", full)
    with pytest.raises(AnimaticError, match="No space left"):
        studio.move(names[2], 1)
    assert order(studio) == names


def test_a_job_that_cannot_begin_lets_the_next_one_go(studio, monkeypatch):
    """The worker takes the first of what waits, which would be the same one for ever."""
    first = held(studio)
    broken, good = queued(studio, seed=1), queued(studio, seed=2)
    change = Log.change

    def failing(log, name, **changes):
        if name == broken:
            raise RuntimeError("the record is gone")
        return change(log, name, **changes)

    monkeypatch.setattr(work.Log, "change", failing)
    studio.cancel(first)
    until(lambda: studio.log.get(good).state == DONE)
    assert order(studio) == [broken]


# ---- on the page


@pytest.mark.browser
@needs_browser
def test_the_page_lists_what_waits(page):  # noqa: F811
    def render(method: str, steps: str, frames: str) -> None:
        page.select_option("#method", method)
        page.fill("#steps", steps)
        page.fill("#frames", frames)
        with page.expect_response("**/api/render"):
            page.click("#render")
        expect(page.locator("#render")).to_be_enabled()

    # while one is at work, three are queued
    page.uncheck("#none")
    render("none", "200", "4")
    page.wait_for_selector("#preview:not([hidden])", timeout=60_000)
    for method in ("none", "boxdiff", "layout-attention"):
        render(method, "1", "2")
    lines = page.locator("#waiting .hint")
    expect(lines).to_have_text(["none, mini", "boxdiff, mini", "layout-attention, mini"])
    assert page.locator("#waiting p").first.inner_text().startswith("A bear walks from the left to the right")
    assert serious_violations(page) == []

    # moved by the keyboard, the focus stays with the job
    items = page.locator("#waiting li")
    items.nth(2).get_by_role("button", name="Earlier: A bear walks from the left to the right").focus()
    page.keyboard.press("Enter")
    expect(lines).to_have_text(["none, mini", "layout-attention, mini", "boxdiff, mini"])
    page.keyboard.press("Enter")
    expect(lines).to_have_text(["layout-attention, mini", "none, mini", "boxdiff, mini"])
    expect(items.first.get_by_role("button", name="Earlier:")).to_have_attribute("aria-disabled", "true")
    items.first.get_by_role("button", name="Later:").click()
    expect(lines).to_have_text(["none, mini", "layout-attention, mini", "boxdiff, mini"])

    # dragged below the others, and back up
    def drag(i: int, below: int) -> None:
        start, goal = (items.nth(k).locator("p").bounding_box() for k in (i, below))
        page.mouse.move(start["x"] + 20, start["y"] + 10)
        page.mouse.down()
        page.mouse.move(start["x"] + 20, goal["y"] + (goal["height"] if below > i else 0), steps=4)
        with page.expect_response("**/api/move"):
            page.mouse.up()

    page.locator("#queue").scroll_into_view_if_needed()
    drag(0, 2)
    expect(lines).to_have_text(["layout-attention, mini", "boxdiff, mini", "none, mini"])
    drag(2, 0)
    expect(lines).to_have_text(["none, mini", "layout-attention, mini", "boxdiff, mini"])

    # one is removed; the others are found again after a reload
    items.nth(1).get_by_role("button", name="Remove from the queue:").click()
    expect(lines).to_have_text(["none, mini", "boxdiff, mini"])
    page.reload()
    page.wait_for_selector("#progress:not([hidden])")
    expect(lines).to_have_text(["none, mini", "boxdiff, mini"])

    # the long one is stopped, and the rest is done, the last shown at the end
    page.wait_for_function("document.querySelector('#eta').textContent.includes('step')")
    page.click("#cancel")
    page.wait_for_selector("#progress", state="hidden", timeout=120_000)
    expect(page.locator("#queue")).to_be_hidden()
    expect(page.locator("#result [data-take] strong")).to_have_text("boxdiff")
    assert page.evaluate("localStorage['animatic.jobs']") == "[]"
