"""The form as a person fills it in for a story: what it shows is what is asked for."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from test_studio_page import CHROMIUM, browser, page, server  # noqa: F401 - fixtures

from animatic import Scene
from animatic.methods import METHODS
from animatic.request import GenerationRequest, WindowOptions
from animatic.studio.job_request import JobRequest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no browser is installed; want Debian's chromium"),
]
TEXT = "A red ball moves to the right on the grass. Then it moves up in the snow."


def value(page, path):  # noqa: F811
    return page.eval_on_selector(f'[data-path="{path}"]', "field => field.value")


def choose(page, method):  # noqa: F811
    page.select_option("#method", method)
    wait_for_settings(page, method)


def wait_for_settings(page, method):  # noqa: F811
    page.wait_for_selector(f'#fields[data-method="{method}"]', state="attached", timeout=30_000)


def test_a_story_in_one_take_and_opened_again(page):  # noqa: F811
    expect = pytest.importorskip("playwright.sync_api").expect
    page.select_option("#kind", "story")
    page.fill("#prompt", TEXT)
    page.press("#prompt", "Enter")

    # several scenes: the usual method of stories, once the answer to the opening of the page is behind
    expect(page.locator("#method")).to_have_value("ditctrl+lvd", timeout=30_000)
    expect(page.locator("#frames")).to_be_disabled(timeout=30_000)
    choose(page, "ditctrl")
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    page.fill('[data-path="guidance.scale"]', "3.5")
    for name, text in (("#steps", "1"), ("#seed", "3"), ("#size", "48x64")):
        page.fill(name, text)
    page.check("#attention")
    with page.expect_request("**/api/render") as asked:
        page.click("#render")
    told = json.loads(asked.value.post_data)
    assert told["settings"] == {"guidance.scale": 3.5} and told["frames"] is None and len(told["scene"]["scenes"]) == 2
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
    assert page.locator("#result strong").all_inner_texts() == ["ditctrl", "none", "attention to its words"]
    assert page.locator("#result form").count() == 3  # more like it can be made; a story can be finished, and edited
    page.reload()
    page.wait_for_selector(".box")
    page.click("#to-gallery")
    page.click("#cards button:text('Open')")
    wait_for_settings(page, "ditctrl")
    shown = [page.input_value(name) for name in ("#method", "#seed", "#steps", "#size")]
    assert shown == ["ditctrl", "3", "1", "48x64"]
    assert value(page, "guidance.scale") == "3.5" and page.is_checked("#attention") and page.is_checked("#none")


def test_a_default_of_one_method_is_not_told_to_another(page):  # noqa: F811
    choose(page, "lvd")
    assert value(page, "energy.scale") == "100"
    choose(page, "boxdiff")
    assert value(page, "energy.scale") == "10"
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    page.fill('[data-path="energy.scale"]', "12")
    choose(page, "lvd")
    assert value(page, "energy.scale") == "12"  # what somebody changed stays so


def test_untouched_settings_are_valid_and_not_sent(page):  # noqa: F811
    """A setting without a default is an empty field, and an empty field is no zero."""
    for method in page.eval_on_selector_all("#method option", "all => all.map(each => each.value)"):
        choose(page, method)
        refused = "all => all.filter(each => !each.checkValidity()).map(each => each.dataset.path)"
        assert page.eval_on_selector_all("[data-path]", refused) == [], method
    choose(page, "lvd")
    assert value(page, "guidance.low_noise_scale") == ""
    page.fill("#steps", "1")
    page.uncheck("#none")
    with page.expect_request("**/api/render") as asked:
        page.click("#render")
    assert json.loads(asked.value.post_data)["settings"] == {}
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)


def test_what_has_no_effect_is_said_on_the_page(page):  # noqa: F811
    choose(page, "ditctrl")
    page.fill("#steps", "1")
    page.uncheck("#none")
    page.click("#render")
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
    assert "the scene fits in one: the video is that of 'none'" in page.inner_text("#result .hint >> nth=0")


def sent(page) -> dict:  # noqa: F811
    """What *Render* would send."""
    return page.evaluate("async () => (await import('/render_form.js')).renderRequest()")


def test_what_joins_the_scenes_of_a_story(page):  # noqa: F811
    """The strip has it between the scenes; it is the request's, and an opened job brings its own."""
    assert page.locator("#tabs .join").count() == 0
    for _ in range(2):
        page.click('[aria-label="Add a copy of this scene"]')
    choose(page, "ditctrl")
    joins = page.locator("#tabs .join")
    lists = joins.locator("select")
    assert joins.count() == 2 and joins.locator("input:visible").count() == 0
    number = METHODS["ditctrl"].layout.transitions
    assert lists.first.locator("option").all_inner_texts() == [f"mix: {number}", "mix over ...", "cut", "crossfade"]
    assert "transitions" not in sent(page)

    # each in its own way, which goes with the scene that it leads to; undone like any change
    lists.first.select_option("mix")
    joins.first.locator("input").fill("3")
    joins.first.locator("input").press("Tab")
    lists.nth(1).select_option("crossfade")
    assert sent(page)["transitions"] == "3,crossfade:4"
    page.click('[aria-label="Move this scene earlier"]')
    assert sent(page)["transitions"] == "crossfade:4,3"
    page.click("#undo")
    page.click("#undo")
    assert sent(page)["transitions"] == f"3,{number}"
    lists.nth(1).select_option("cut")
    asked = sent(page)
    assert asked["transitions"] == "3,cut" and "overlap" not in asked
    assert not any("join" in scene for scene in asked["scene"]["scenes"])

    # an opened job brings its own; one scene has nothing to join
    story = (Scene("A bear"), Scene("A cat"))
    request = GenerationRequest(story, "mini", method="ditctrl", windows=WindowOptions(transitions=0, overlap=0.25))
    open_job = (
        "async job => { (await import('/render_form.js')).openRequest(job); (await import('/state.js')).draw(); }"
    )
    page.evaluate(open_job, JobRequest(request).to_dict())
    assert (page.input_value("#transitions"), page.input_value("#overlap")) == ("0", "0.25")
    assert lists.first.locator("option").first.inner_text() == "mix: 0"
    joined = replace(request, windows=WindowOptions(transitions="crossfade:6,2"))
    page.evaluate(open_job, JobRequest(joined).to_dict())
    assert [lists.nth(i).input_value() for i in range(2)] == ["crossfade", "mix"]
    assert [joins.nth(i).locator("input").input_value() for i in range(2)] == ["6", "2"]
    for _ in range(2):
        page.click('[aria-label="Remove this scene"]')
    assert joins.count() == 0 and page.is_hidden("#joins")
    assert "transitions" not in sent(page) and "overlap" not in sent(page)


def test_what_is_typed_before_an_answer_stays_and_a_late_answer_changes_nothing(page):  # noqa: F811
    choose(page, "lvd")
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    held = []
    page.route("**/api/fields", lambda route: held.append(route))
    page.select_option("#method", "boxdiff")
    page.fill('[data-path="energy.scale"]', "12")
    page.select_option("#method", "backward-guidance")
    for _ in range(600):
        if len(held) == 2:
            break
        page.wait_for_timeout(50)
    early, late = held

    # the answers come in the other order
    late.continue_()
    wait_for_settings(page, "backward-guidance")
    assert value(page, "energy.scale") == "12"
    with page.expect_response("**/api/fields"):
        early.continue_()
    page.wait_for_timeout(500)
    assert page.get_attribute("#fields", "data-method") == "backward-guidance"
