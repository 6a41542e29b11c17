"""Entries of LemmInflect's dictionary, parsed one at a time: what LemmInflect itself gives."""

import pytest
from lemminflect.core.Lemmatizer import Lemmatizer

from animatic.planning.word_dictionary import lemmas


def test_every_word_of_the_dictionary():
    """All 40,000 words, which also says that the file is sorted, and its formats are those that are expected."""
    words = {*Lemmatizer()._getLemmaDict(), *Lemmatizer()._getOverridesDict()}
    assert len(words) > 40_000
    different = [word for word in words if word == word.lower() and lemmas(word) != Lemmatizer().getAllLemmas(word)]
    assert not different


@pytest.mark.parametrize("word", ["", "skateboardingly", "zzzz", "!", "a,noun"])
def test_words_that_it_does_not_have(word: str):
    assert lemmas(word) == {} == Lemmatizer().getAllLemmas(word)
