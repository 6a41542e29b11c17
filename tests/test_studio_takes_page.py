"""Takes on the studio's page: rendered in a row, marked, compared, deleted and brought back, exported and imported."""

import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from conftest import needs_browser
from test_studio_page import CHROMIUM, browser, page, server  # noqa: F401 - fixtures

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
pytestmark = [pytest.mark.browser, needs_browser]


def rendered(page, count: int) -> None:  # noqa: F811
    """Wait for a result of `count` takes."""
    expect(page.locator("#result [data-take]")).to_have_count(count, timeout=120_000)
    page.wait_for_selector("#progress", state="hidden")


def serious_violations(page) -> list[str]:  # noqa: F811
    """What axe finds in the view that is open, in both colour schemes."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = []
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        violations = axe.Axe().run(page).response["violations"]
        found += [f"{v['id']}: {v['nodes'][0]['html']}" for v in violations if v["impact"] in ("serious", "critical")]
    return found


def test_takes_from_render_to_project(page, tmp_path):  # noqa: F811
    # three seeds, in one click
    page.select_option("#method", "none")
    page.uncheck("#none")
    page.fill("#takes", "3")
    page.fill("#seed", "5")
    page.fill("#steps", "2")
    page.fill("#frames", "2")
    page.click("#render")
    rendered(page, 3)
    names = page.locator("#result figcaption strong")
    assert names.all_inner_texts() == ["none, seed 5", "none, seed 6", "none, seed 7"]
    assert page.locator("#result .score").count() == 3

    # the best first, a note, and one deleted and brought back
    page.click('[aria-label="Best: none, seed 6"]')
    page.wait_for_selector("figure.best")
    assert page.locator("figure.best").evaluate("e => getComputedStyle(e).order") == "-1"
    page.click('[aria-label="Favourite: none, seed 7"]')
    page.fill('[aria-label="Note: none, seed 7"]', "slow walk")
    page.press('[aria-label="Note: none, seed 7"]', "Enter")
    page.click('[aria-label="Delete: none, seed 5"]')
    page.wait_for_selector('#result [data-take="0"]', state="hidden")
    page.click("#messages button:text('Undo')")
    page.wait_for_selector('#result [data-take="0"]', state="visible")

    # two of them over one another
    page.click("text=Before and after")
    page.wait_for_selector(".before-after .above")
    slider = page.locator(".before-after input[type=range]")
    slider.fill("25")
    clip = page.locator(".before-after .above").evaluate("e => e.style.clipPath")
    assert "25%" in clip
    page.check(".before-after input[type=checkbox]")
    assert page.locator(".before-after .above").evaluate("e => getComputedStyle(e).mixBlendMode") == "difference"
    assert slider.is_disabled()
    assert serious_violations(page) == []

    # one setting over a row, of a take's seed
    form = page.locator('form[aria-label="More like this"]')
    form.locator("select").select_option("1")
    form.locator("[list=setting-names]").fill("guidance")
    form.locator('[placeholder="3, 6, 9"]').fill("1, 5")
    form.locator("button").click()
    rendered(page, 2)
    assert names.all_inner_texts() == ["none, guidance 1", "none, guidance 5"]

    # the gallery: favourites, a project out and in, the trash
    page.click("#to-gallery")
    page.wait_for_selector("#cards li:nth-child(2)")
    before = page.locator("#cards li").count()
    page.check("#favourites")
    expect(page.locator("#cards li")).to_have_count(1)
    export = page.locator("#project-export")
    expect(export).to_be_disabled()
    expect(export).to_have_accessible_description("Tick the videos that the project is to have.")
    assert export.get_attribute("title") == page.inner_text("#project-hint")
    page.check("#cards input[type=checkbox]")
    expect(export).to_be_enabled()
    assert (export.get_attribute("title"), page.inner_text("#project-hint")) == ("", "")
    with page.expect_download() as download:
        page.click("text=Export project (1)")
    download.value.save_as(tmp_path / "project.zip")
    page.set_input_files("#project-file", tmp_path / "project.zip")
    expect(page.locator("#cards li")).to_have_count(2)  # with its marks, so a favourite
    assert serious_violations(page) == []
    page.uncheck("#favourites")
    expect(page.locator("#cards li")).to_have_count(before + 1)
    page.locator("#cards button:text('Delete')").first.click()
    page.wait_for_selector("text=In the trash: 1")
    page.click("#messages button:text('Undo')")
    expect(page.locator("#cards li")).to_have_count(before + 1)
    page.wait_for_selector("#trash", state="hidden")


def test_half_a_variation_is_said(page):  # noqa: F811
    page.evaluate("document.querySelectorAll('#rendering details').forEach(e => { e.open = true; })")
    page.fill("#vary", "guidance")
    page.click("#render")
    page.wait_for_selector("text=to vary a setting takes its name and values")
