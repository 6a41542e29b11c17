"""Phrases are found as words, by the tokenizer's offsets."""

import pytest
import tiny

from animatic.core.text import ClipText, find
from animatic.errors import AnimaticError


@pytest.fixture(scope="module")
def text():
    words = tiny.tokenizer()
    return ClipText("tiny", words, tiny.text_encoder(words))


@pytest.mark.parametrize(
    ("prompt", "phrase", "token"),
    [
        ("oscar drives a car", "car", "car"),
        ("a scar on a car", "car", "car"),
        ("Three red cars and a dog", "red car", "redcars"),
        ("a small red car", "tiny car", "car"),
        ("two people", "person", "people"),
        ("wolves run", "wolf", "wolves"),
        ("a cherry and two cherries", "cherry", "cherry"),
        ("boxes", "box", "boxes"),
        ("a C++ book (new)", "C++ book", "c++book"),
        ("A BEAR.", "bear", "bear"),
    ],
)
def test_positions_are_the_tokens_of_the_words(text, prompt, phrase, token):
    ids = text.tokenizer(prompt)["input_ids"]
    found = [text.tokenizer.convert_ids_to_tokens(ids[p]) for p in text.positions(prompt, phrase)]
    assert "".join(found).replace("</w>", "") == token


@pytest.mark.parametrize(
    ("prompt", "phrase"), [("oscar drives", "car"), ("a carpet", "car"), ("cattle", "cat"), ("a dog", "cat")]
)
def test_words_inside_words_are_not_found(text, prompt, phrase):
    assert find(prompt, phrase) is None
    assert text.positions(prompt, phrase) == ()


def test_long_prompts_are_refused_not_cut(text):
    assert text.tokens(["a" * 75]).shape == (1, 77)
    with pytest.raises(AnimaticError, match="78 tokens; tiny reads at most 77"):
        text.tokens(["a" * 76])
