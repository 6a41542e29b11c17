"""Phrases are found as words, by the tokenizer's offsets."""

import pytest
import tiny

from animatic.errors import AnimaticError
from animatic.scene import Scene, Track
from animatic.text import ClipText, find, told


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


def test_told():
    box = ((0.0, 0.0, 0.5, 0.5),)
    assert told(Scene("A cat.")) == "A cat."
    assert told(Scene("A cat. ")) == "A cat. ", "as typed where nothing is added"
    assert told(Scene("A cat.", (Track("cat", box),))) == "A cat."
    assert told(Scene("A cat.", (Track("dog", box),), "forest")) == "A cat, forest background, dog."
    assert told(Scene("A cat...", (Track("dog", box),))) == "A cat, dog..."
    assert told(Scene("A cat", background="forest")) == "A cat, forest background"
    assert told(Scene("A cat in a forest", background="forest")) == "A cat in a forest"
    assert told(Scene("Cats", (Track("cat", box), Track("red dog", box), Track("red dog", box)))) == "Cats, red dog"


def test_a_phrase_is_not_named_by_the_noun_of_another(text):
    """Of two cars the prompt names one; the other is added, and each has tokens of its own."""
    box = ((0.0, 0.0, 0.5, 0.5),)
    cars = Scene("A red car drives", (Track("red car", box), Track("blue car", box)))
    assert told(cars) == "A red car drives, blue car"
    red, blue = (set(text.positions(told(cars), track.phrase)) for track in cars.tracks)
    assert red and blue and not red & blue
    assert told(Scene("A car drives", (Track("red car", box),))) == "A car drives"
    assert told(Scene("Two cars", (Track("red car", box), Track("blue car", box)))) == "Two cars"
    assert told(Scene("A red car and a blue car", cars.tracks)) == "A red car and a blue car"
