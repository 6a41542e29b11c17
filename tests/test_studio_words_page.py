"""The prompt's words on the page: their roles, lost words made objects, suggestions, colours; and the keys."""

import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from test_studio_page import CHROMIUM, browser, page, server, story  # noqa: F401 - fixtures

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no browser is installed; want Debian's chromium"),
]


def plan(page, prompt):  # noqa: F811
    page.fill("#prompt", prompt)
    page.press("#prompt", "Enter")
    page.wait_for_selector("#account .object")


def phrases(page):  # noqa: F811
    return [track["phrase"] for track in story(page)[0]["tracks"]]


def test_words_have_the_colour_of_their_role_and_a_lost_one_becomes_an_object(page):  # noqa: F811
    plan(page, "A red bear juggles in the snow, no cars")
    line = page.locator("#account > span").first
    roles = {
        name: line.locator(f".{name}").all_inner_texts() for name in ("object", "place", "unwanted", "not-understood")
    }
    assert roles == {"object": ["bear"], "place": ["snow"], "unwanted": ["cars"], "not-understood": ["juggles"]}
    colours = [line.locator(f".{name}").first.evaluate("e => getComputedStyle(e).color") for name in roles]
    assert len(set(colours)) == 4
    assert "Not understood, so in no box: juggles" in page.inner_text("#account")

    page.click("#account button.not-understood")
    assert phrases(page) == ["red bear", "juggles"]
    assert line.locator(".object").all_inner_texts() == ["bear", "juggles"]
    page.click("#undo")
    assert phrases(page) == ["red bear"] and line.locator("button.not-understood").count() == 1

    # the roles are those of the prompt that was planned
    page.fill("#prompt", "A cat")
    assert page.is_hidden("#account")


def test_a_noun_that_the_model_has_not_learned_gets_suggestions(page):  # noqa: F811
    plan(page, "An orange labrador runs to the right")
    page.wait_for_selector("#suggestions button")
    assert "mini has not learned “orange labrador”" in page.inner_text("#suggestions")
    assert page.locator("#suggestions button").first.inner_text() == "dog"
    page.click("#suggestions button:text('dog')")
    assert phrases(page) == ["dog"] and page.input_value("#prompt") == "A dog runs to the right"
    assert page.locator("#suggestions li").count() == 0


def test_an_object_has_a_colour_and_a_prompt_of_its_own(page):  # noqa: F811
    plan(page, "A bear walks to the right")
    page.select_option("#tracks select", "orange")
    assert phrases(page) == ["orange bear"] and story(page)[0]["prompt"] == "An orange bear walks to the right"
    page.select_option("#tracks select", "blue")
    assert story(page)[0]["prompt"] == "A blue bear walks to the right" == page.input_value("#prompt")
    page.select_option("#tracks select", "")
    assert phrases(page) == ["bear"] and story(page)[0]["prompt"] == "A bear walks to the right"
    page.click("#tracks summary")
    page.fill("#tracks details input", "a bear in a hat")
    page.press("#tracks details input", "Enter")
    assert story(page)[0]["tracks"][0]["prompt"] == "a bear in a hat"
    assert page.is_visible("#tracks details input")


def test_phrases_in_texts(page):  # noqa: F811
    found = page.evaluate(
        """async () => {
            const { exchanged, findWords, coloured } = await import("/phrases.js");
            return [
                exchanged("An apple and a pear", "apple", "red apple"), exchanged("A pear", "pear", "apple"),
                exchanged("Bearded bear", "bear", "cat"), exchanged("A dog", "bear", "cat"),
                exchanged("pianissimo", "", "x"),
                findWords("a cat's bear", "cat"), coloured("orange", "red", ["orange", "red"]),
            ];
        }"""
    )
    assert found == ["A red apple and a pear", "An apple", "Bearded cat", "A dog", "pianissimo", None, "red orange"]


def test_the_keys_are_listed(page):  # noqa: F811
    page.locator("#stage").focus()
    page.keyboard.press("?")
    assert page.is_visible("#shortcuts")
    key = page.get_attribute("#keys [aria-pressed=true]", "aria-label")
    page.keyboard.press("]")  # the page behind an open dialog stays as it is
    assert page.get_attribute("#keys [aria-pressed=true]", "aria-label") == key
    page.keyboard.press("Escape")
    assert page.is_hidden("#shortcuts")
    page.click("#shortcuts-open")
    assert page.is_visible("#shortcuts kbd >> nth=0")
    page.click("#shortcuts button")
    assert page.is_hidden("#shortcuts")
    page.keyboard.press("]")
    assert page.get_attribute("#keys [aria-pressed=true]", "aria-label") != key
    page.fill("#background", "")  # the plan of the first prompt has one
    page.focus("#background")
    page.keyboard.type("?")
    assert page.is_hidden("#shortcuts") and page.input_value("#background") == "?"
