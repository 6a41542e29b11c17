"""The page's languages: every text of the page and its modules in all of them, from one file."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from test_studio_page import CHROMIUM, browser, page, server  # noqa: F401 - fixtures

from animatic.planning.account import Role
from animatic.planning.lexicon import colours
from animatic.studio.api import FINISHES
from animatic.studio.server import build
from animatic.studio.sizes import NATIVE, SHAPES

PAGE = Path(build.__code__.co_filename).parent / "page"
LANGUAGES = {"de", "es", "zh"}
STRINGS = json.loads((PAGE / "strings.json").read_text(encoding="utf-8"))
ATTRIBUTES = ("placeholder", "title", "aria-label", "alt")
STATES = ("waiting", "running", "failed", "cancelled")  # of jobs without a video, in the gallery
TEXT = re.compile(r'\bt\(\s*"((?:[^"\\]|\\.)*)"')


class Texts(HTMLParser):
    """The texts and attributes of a page's body that can be translated."""

    def __init__(self):
        super().__init__()
        self.open = []  # (tag, whether it may be translated)
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        inside = tag == "body" or (self.open and self.open[-1][1])
        translated = bool(inside) and given.get("translate") != "no"
        if translated:
            self.found += [given[name] for name in ATTRIBUTES if given.get(name)]
        if tag not in ("meta", "link", "input", "img"):
            self.open.append((tag, translated))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if any(map(str.isalpha, data)) and self.open[-1][1]:
            self.found.append(data.strip())


def sources() -> set[str]:
    texts = Texts()
    texts.feed((PAGE / "index.html").read_text())
    found = {*texts.found, *Role, *FINISHES.values(), *colours(), *STATES, NATIVE, *SHAPES}
    for module in PAGE.glob("*.js"):
        found.update(TEXT.findall(module.read_text()))
    return found


def test_every_text_has_every_language():
    assert len(sources()) > 150
    missing = sorted(sources() - set(STRINGS))
    assert missing == [], "want these in strings.json"
    assert sorted(set(STRINGS) - sources()) == [], "no text is so"
    for text, translations in STRINGS.items():
        assert set(translations) == LANGUAGES and all(translations.values()), text


def test_no_text_is_there_twice():
    lines = re.findall(r'^ ("(?:[^"\\]|\\.)*"): \{', (PAGE / "strings.json").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == len(set(lines)) == len(STRINGS)


def test_a_translation_has_the_values_of_its_source():
    for text, translations in STRINGS.items():
        for language, translation in translations.items():
            values, wanted = (sorted(re.findall(r"\{\w+\}", each)) for each in (translation, text))
            assert values == wanted, f"{language}: {translation}"


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no browser is installed; want Debian's chromium")
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_the_page_in_a_language(page, language):  # noqa: F811
    assert page.get_attribute("html", "lang") == "en"
    page.select_option("#language", language)
    assert page.get_attribute("html", "lang") == language
    assert page.inner_text("#render") == STRINGS["Render"][language]
    first = page.locator("#tabs button").first
    assert first.inner_text() == STRINGS["Scene {i}"][language].replace("{i}", "1")

    # what is written later is in it, too
    page.fill("#steps", "1")
    page.click("#render")
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
    assert page.inner_text("#messages span") == STRINGS["The video is ready."][language]
    assert page.locator("#result form button").last.inner_text() == STRINGS["Edit"][language]

    # it is remembered, and English can be had again, of the result as well
    page.reload()
    page.wait_for_selector(".box")
    assert page.input_value("#language") == language and page.get_attribute("html", "lang") == language
    page.click("#to-gallery")
    page.wait_for_selector("#cards button")
    assert page.locator("#cards button").first.inner_text() == STRINGS["Open"][language]
    page.select_option("#language", "en")
    page.wait_for_selector("#cards button:text('Open')")
    assert page.get_attribute("html", "lang") == "en" and page.text_content("#render") == "Render"
