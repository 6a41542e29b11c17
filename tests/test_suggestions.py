"""Words that a model knows for those it does not."""

import pytest

from animatic.planning.lexicon import likenesses
from animatic.planning.suggestions import suggestions

KNOWN = ("bear", "cat", "dog", "bird", "boat", "balloon", "tree", "person")


@pytest.mark.parametrize(
    ("phrase", "nearest"),
    [("a golden labrador", "dog"), ("yacht", "boat"), ("seagull", "bird"), ("robot", "person"), ("baloon", "balloon")],
)
def test_the_nearest_known_word_comes_first(phrase, nearest):
    found = suggestions([phrase], KNOWN)[phrase]
    assert found[0] == nearest and len(set(found)) == 3 and set(found) < set(KNOWN)


def test_nothing_is_suggested_for_what_is_known():
    assert suggestions(["brown bear", "dogs", " "], KNOWN) == {}
    assert suggestions(["zorp"], ()) == {}  # a model that can show anything


def test_no_noun_is_like_itself_and_each_line_names_single_words():
    for noun, members in likenesses().items():
        assert noun not in members and all(len(member.split()) == 1 for member in members)
        assert len(set(members)) == len(members)
