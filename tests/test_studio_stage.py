"""The studio's stage: key frames at any time, whole ways, recorded ways, guides, zoom, and the strip of scenes."""

import json

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from conftest import needs_browser
from test_studio_page import browser, drag, page, server, story  # noqa: F401 - fixtures

from animatic.scene import parse, parse_story

pytestmark = [pytest.mark.browser, needs_browser]


def module(page, name, code, *given):  # noqa: F811
    """What JavaScript `code` gives, with the page's module as `m` and the given values as `v`."""
    return page.evaluate(f"async (v) => {{ const m = await import('/{name}.js'); return {code}; }}", list(given))


def random_scene(random, keys, tracks=2):
    """A scene of boxes, some absent, as the page holds it."""
    boxes = np.sort(random.random((tracks, keys, 2, 2)), 2).reshape(tracks, keys, 4)
    present = random.random((tracks, keys)) > 0.25
    rows = [
        [box.tolist() if shown else None for box, shown in zip(*row, strict=True)]
        for row in zip(boxes, present, strict=True)
    ]
    return {"prompt": "a", "tracks": [{"phrase": "a", "boxes": row} for row in rows]}


def positions(scene, frames=98):
    """Boxes of each track at even times, as Python resamples the scene; nan where absent.

    98 frames are at multiples of 1/97: at none of them is the time just half-way between two key frames.
    """
    absent = (np.nan,) * 4
    scene = parse({**scene, "version": 2 if scene.get("times") else 1})
    return np.array([[box or absent for box in track.boxes] for track in scene.at(frames).tracks])


def test_key_frames_at_any_time_leave_the_motion_as_it_is(page):  # noqa: F811
    random = np.random.default_rng(3)
    for keys in range(1, 7):
        scene = random_scene(random, keys)
        times = random.random(4).tolist()
        more = module(page, "key_times", "v[1].reduce(m.withKey, v[0])", scene, times)
        assert len(more["tracks"][0]["boxes"]) > keys
        np.testing.assert_allclose(positions(more), positions(scene), atol=1e-9)
        less = module(page, "key_times", "m.withNeededKeys(v[0])", more)
        assert len(less["tracks"][0]["boxes"]) <= len(more["tracks"][0]["boxes"])
        np.testing.assert_allclose(positions(less), positions(scene), atol=2e-4)


def test_the_page_and_python_agree_where_a_box_is(page):  # noqa: F811
    scene = {**random_scene(np.random.default_rng(5), 5), "times": [0, 0.1, 0.4, 0.85, 1]}
    shown = module(
        page, "key_times", "v[1].map((time) => m.boxesAt(v[0], time))", scene, np.linspace(0, 1, 44).tolist()
    )
    shown = np.array([[box or [np.nan] * 4 for box in row] for row in shown]).swapaxes(0, 1)
    np.testing.assert_allclose(shown, positions(scene, 44), atol=1e-9)


def test_ways(page):  # noqa: F811
    boxes = [[0, 0.5, 0.2, 0.7], [0.4, 0.1, 0.6, 0.3], [0.8, 0.5, 1, 0.7]]
    other = [[0.1, 0.1, 0.2, 0.2], None, [0.3, 0.3, 0.5, 0.5]]
    scene = {"prompt": "a", "tracks": [{"phrase": "a", "boxes": boxes}, {"phrase": "b", "boxes": other}]}
    straight, smooth, eased = (
        module(page, "paths", code, scene)
        for code in ("m.straightened(v[0], 0)", "m.smoothed(v[0], 0)", "m.eased(v[0], 0, 'ease-in')")
    )
    for changed in (straight, smooth, eased):
        np.testing.assert_allclose(positions(changed)[1], positions(scene)[1], atol=2e-4)
    old = positions(scene, 101)
    for changed in (straight, smooth, eased):
        np.testing.assert_allclose(positions(changed, 101)[0, [0, -1]], old[0, [0, -1]], atol=1e-3)
    np.testing.assert_allclose(positions(straight)[0, :, 1], 0.5, atol=1e-3)
    turn = positions(smooth, 101)[0, 48:53, 1]
    assert np.ptp(turn) < np.ptp(old[0, 48:53, 1]) / 2 and turn.min() >= 0.1 - 1e-3
    np.testing.assert_allclose(positions(eased, 101)[0, 50], old[0, 25], atol=0.01)
    # a way is moved only as far as all of it stays in the frame
    assert module(page, "paths", "m.movedTogether(v[0], 0.3, 0.2)", boxes) == [
        pytest.approx([x0, y0 + 0.2, x1, y1 + 0.2]) for x0, y0, x1, y1 in boxes
    ]


def test_a_recording_becomes_few_key_frames(page):  # noqa: F811
    times = np.linspace(0.3, 1, 120)
    x, y = 0.8 * (times - 0.3) / 0.7, 0.4 + 0.1 * np.sin(8 * times)
    samples = [
        [float(t), [float(a), float(b), float(a) + 0.2, float(b) + 0.2]] for t, a, b in zip(times, x, y, strict=True)
    ]
    scene = {"prompt": "a", "tracks": [{"phrase": "a", "boxes": [[0, 0, 0.2, 0.2], [0.5, 0.5, 0.7, 0.7]]}]}
    made = module(page, "paths", "m.recorded(v[0], 0, v[1], 64)", scene, samples)
    assert 4 < len(made["times"]) < 20
    at = np.linspace(0, 1, 101)
    found, old = positions(made, 101)[0], positions(scene, 101)[0]
    np.testing.assert_allclose(found[at < 0.28], old[at < 0.28], atol=0.012)
    np.testing.assert_allclose(found[at >= 0.3, 0], np.interp(at[at >= 0.3], times, x), atol=0.015)
    np.testing.assert_allclose(found[at >= 0.3, 1], np.interp(at[at >= 0.3], times, y), atol=0.015)
    assert len(module(page, "paths", "m.recorded(v[0], 0, v[1], 6)", scene, samples)["times"]) <= 6


def test_snapping(page):  # noqa: F811
    snap = lambda box, corner, ground=0.9: module(page, "snapping", "m.snapped(...v)", box, corner, ground)  # noqa: E731
    third = 1 / 3
    assert snap([0.1, 0.6, 0.324, 0.895], "")["box"] == pytest.approx([0.1 + third - 0.324, 0.605, third, 0.9])
    assert snap([0.1, 0.2, 0.325, 0.4], "se")["box"] == pytest.approx([0.1, 0.2, third, 0.4])
    free = snap([0.1, 0.2, 0.25, 0.4], "")
    assert free["box"] == [0.1, 0.2, 0.25, 0.4] and free["guides"] == {"x": None, "y": None}
    assert module(page, "snapping", "m.groundOf(v)", [0, 0, 1, 0.8], None, [0, 0, 1, 0.5], [0, 0.2, 1, 0.8]) == 0.8


# ---- the page


def at_time(page, time):  # noqa: F811
    """Click the ruler at a time 0..1."""
    ruler = page.locator("#ruler")
    ruler.click(position={"x": time * ruler.bounding_box()["width"], "y": 6})


def test_scrub_and_a_key_frame_where_a_box_is_moved(page):  # noqa: F811
    at_time(page, 0.5)
    assert page.get_attribute("#stage", "aria-label") == "Stage, at 1.00 s"
    page.locator("#stage .box").focus()
    page.keyboard.press("Shift+ArrowUp")
    (scene,) = story(page)
    assert scene["times"] == pytest.approx([0, 0.2, 0.4, 0.5, 0.6, 0.8, 1], abs=0.006)
    moved, before, after = (scene["tracks"][0]["boxes"][k][1] for k in (3, 2, 4))
    assert moved == pytest.approx((before + after) / 2 - 0.05, abs=0.01)

    # The playhead, and marks, by keyboard; a key frame is moved in time and removed.
    page.focus("#playhead")
    page.keyboard.press("ArrowRight")
    assert float(page.get_attribute("#playhead", "aria-valuenow")) == pytest.approx(0.52, abs=0.006)
    page.keyboard.press("Home")
    assert page.get_attribute("#stage", "aria-label") == "Stage, key frame 1 of 7"
    page.locator("#marks .mark").nth(3).focus()
    page.keyboard.press("ArrowRight")
    assert story(page)[0]["times"][3] == pytest.approx(0.52, abs=0.006)
    mark, ruler = page.locator("#marks .mark").nth(3).bounding_box(), page.locator("#ruler").bounding_box()
    page.mouse.move(mark["x"] + 12, mark["y"] + 12)
    page.mouse.down()
    page.mouse.move(ruler["x"] + 0.57 * ruler["width"], mark["y"] + 12, steps=4)
    page.mouse.up()
    assert story(page)[0]["times"][3] == pytest.approx(0.57, abs=0.006)
    page.click("#key-remove")
    assert len(story(page)[0]["tracks"][0]["boxes"]) == 6 and story(page)[0]["times"] == []

    # The server takes such a scene, and opens it from the gallery with its times.
    at_time(page, 0.1)
    page.click("#key-add")
    page.fill("#steps", "1")
    page.uncheck("#none")
    with page.expect_request("**/api/render") as asked:
        page.click("#render")
    assert json.loads(asked.value.post_data)["scene"]["version"] == 2
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
    rendered = story(page)[0]["times"]
    page.click("#undo")
    page.click("#to-gallery")
    page.click("#cards button:text('Open') >> nth=0")
    assert story(page)[0]["times"] == rendered and len(rendered) == 7


def test_whole_ways_copies_order_and_locks(page):  # noqa: F811
    before = story_boxes(page)
    x0, y0, x1, y1 = before[0][0]
    page.keyboard.down("Shift")
    drag(page, ((x0 + x1) / 2, (y0 + y1) / 2), ((x0 + x1) / 2, (y0 + y1) / 2 - 0.2))
    page.keyboard.up("Shift")
    moved = story_boxes(page)[0]
    for old, new in zip(before[0], moved, strict=True):
        assert new == pytest.approx([old[0], old[1] - 0.2, old[2], old[3] - 0.2], abs=0.01)
    page.locator("#stage .box").focus()
    page.keyboard.press("Control+ArrowDown")
    assert story_boxes(page)[0][5][1] == pytest.approx(moved[5][1] + 0.01, abs=1e-3)

    page.click("#duplicate")
    assert len(story(page)[0]["tracks"]) == 2
    page.fill('[aria-label="Name of object 2"]', "ball")
    page.press('[aria-label="Name of object 2"]', "Enter")
    page.click("#backward")
    assert [track["phrase"] for track in story(page)[0]["tracks"]] == ["ball", "bear"]
    page.click("#lock")
    held = story_boxes(page)[0]
    page.locator("#stage .box").first.focus()
    page.keyboard.press("ArrowUp")
    assert story_boxes(page)[0] == held and page.locator(".box.locked").count() == 1
    page.click("#lock")

    page.select_option("#way", "slow at first")
    assert len(story_boxes(page)[0]) > 6
    page.click('[aria-label="Add a copy of this scene"]')
    page.select_option("#copy-to", "0")
    assert [len(scene["tracks"]) for scene in story(page)] == [3, 2]
    with page.expect_download() as download:
        page.click("#export")
    with open(download.value.path()) as file:
        assert len(parse_story(json.load(file))) == 2


def story_boxes(page):  # noqa: F811
    """The boxes of the first scene's tracks; the story is kept from the first change on."""
    return page.evaluate("async () => (await import('/state.js')).state.story[0].tracks.map((track) => track.boxes)")


def test_snap_zoom_and_recording(page):  # noqa: F811
    page.check("#snap")
    assert page.locator("#stage .guide").count() == 5
    drag(page, (0.05, 0.05), (0.325, 0.34))
    assert story_boxes(page)[1][0] == pytest.approx([0.05, 0.05, 1 / 3, 1 / 3], abs=0.006)
    page.uncheck("#snap")
    assert page.locator("#stage .guide").count() == 0

    # Zoomed in, a point of the stage is still that point.
    width = page.locator("#stage").bounding_box()["width"]
    page.click("#zoom-in")
    assert page.locator("#stage").bounding_box()["width"] == pytest.approx(1.5 * width, rel=0.03)
    page.click("#zoom-out")

    # Drawn by moving the mouse, from the left to the right; there is time enough for a slow machine.
    page.fill("#seconds", "60")
    page.press("#seconds", "Tab")
    page.locator("#stage .box").nth(1).focus()
    page.click("#record")
    stage = page.locator("#stage").bounding_box()
    page.mouse.move(stage["x"] + 0.2 * stage["width"], stage["y"] + 0.3 * stage["height"])
    page.mouse.down()
    for k in range(20):
        page.mouse.move(stage["x"] + (0.2 + 0.03 * k) * stage["width"], stage["y"] + 0.3 * stage["height"])
        page.wait_for_timeout(40)
    page.mouse.up()
    boxes = story_boxes(page)[1]
    middles = [(box[0] + box[2]) / 2 for box in boxes]
    assert middles[0] == pytest.approx(0.2, abs=0.03) and middles[-1] == pytest.approx(0.77, abs=0.03)
    assert middles == sorted(middles) and 3 <= len(boxes) <= 20
    assert page.get_attribute("#record", "aria-pressed") == "false"


def test_a_scene_is_added_empty_or_as_a_copy(page):  # noqa: F811
    page.fill("#seconds", "3")
    page.press("#seconds", "Tab")
    page.click('[aria-label="Add a copy of this scene"]')
    first, second = story(page)
    assert first == second and page.input_value("#prompt") == first["prompt"]
    page.click('[aria-label="Add an empty scene"]')
    empty = story(page)[2]
    assert (empty["prompt"], empty["tracks"], empty["seconds"]) == ("", [], 3)
    page.keyboard.type("A cat")  # the field of the prompt has the focus
    page.keyboard.press("Tab")
    assert [scene["prompt"] for scene in story(page)] == [first["prompt"], first["prompt"], "A cat"]
    while page.is_enabled('[aria-label="Add an empty scene"]'):
        page.click('[aria-label="Add an empty scene"]')
    assert page.get_attribute('[aria-label="Add an empty scene"]', "title") == f"at most {len(story(page))} scenes here"


def test_the_strip_of_scenes(page):  # noqa: F811
    for prompt in ("A ball", "A cat"):
        page.click('[aria-label="Add a copy of this scene"]')
        page.fill("#prompt", prompt)
        page.press("#prompt", "Tab")
    assert page.locator("#tabs svg").count() == 3
    page.fill('[aria-label="Seconds of scene 3"]', "4")
    page.press('[aria-label="Seconds of scene 3"]', "Tab")
    assert page.inner_text("#tabs .hint") == "8 s in all"

    def prompts():
        return [scene["prompt"].split()[1] for scene in story(page)]

    assert prompts() == ["bear", "ball", "cat"]
    page.locator('[data-focus="scene 2"]').focus()
    page.keyboard.press("Alt+ArrowLeft")
    page.keyboard.press("Alt+ArrowLeft")
    assert prompts() == ["cat", "bear", "ball"] and story(page)[0]["seconds"] == 4
    page.click('[aria-label="Move this scene later"]')
    assert prompts() == ["bear", "cat", "ball"]
    first, last = (page.locator("#tabs .scene").nth(k).bounding_box() for k in (0, 2))
    page.mouse.move(first["x"] + 40, first["y"] + 30)
    page.mouse.down()
    page.mouse.move(last["x"] + 60, first["y"] + 30, steps=5)
    page.mouse.up()
    assert prompts() == ["cat", "ball", "bear"]
    assert page.locator('#tabs [aria-pressed="true"]').inner_text() == "Scene 3"
    assert page.input_value("#prompt").split()[1] == "bear"
    page.click("#undo")
    assert prompts() == ["bear", "cat", "ball"]
