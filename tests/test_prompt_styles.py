"""How methods word scenes, in plain English and as published."""

import json

import pytest
import tiny
from edit_pairs import edit_pair

from animatic.backbones import load
from animatic.controls.guidance import Guidance
from animatic.errors import AnimaticError
from animatic.methods import METHODS, as_method
from animatic.prompting.english import article, counted, listing
from animatic.prompting.styles import (
    as_typed,
    keeping_prompt,
    listing_objects,
    listing_objects_published,
    object_scene,
    with_background,
    with_background_published,
)
from animatic.rendering import render
from animatic.scene import Scene, Track
from animatic.story_edit import Edit

BOX = ((0.0, 0.0, 0.5, 0.5),)


def still(*phrases: str, prompt: str = "A photo", background: str = "", negative: str = "") -> Scene:
    return Scene(prompt, tuple(Track(phrase, BOX) for phrase in phrases), background, negative, 0.0)


def moving(*phrases: str, prompt: str, background: str = "", negative: str = "") -> Scene:
    return Scene(prompt, tuple(Track(phrase, BOX) for phrase in phrases), background, negative)


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ("apple", "an apple"), ("backpack", "a backpack"), ("a backpack", "a backpack"), ("the dog", "the dog"),
        ("An owl", "An owl"), ("two cats", "two cats"), ("3 cats", "3 cats"), ("her dog", "her dog"),
        ("another cup", "another cup"), ("anchor", "an anchor"), ("thermos", "a thermos"),
    ],
)  # fmt: skip
def test_articles_once(words, want):
    assert article(words) == want


def test_counts_and_lists():
    assert counted("apple", 2) == "two apples" and counted("person on a bike", 3) == "three people on bikes"
    assert counted("sheep", 13) == "thirteen sheep"
    assert [listing("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("scene", "want"),
    [
        (moving(prompt="A cat.", background="forest"), "A cat."),
        (moving("cat", prompt="A cat."), "A cat."),
        (moving("cat", prompt="A cat in a forest.", background="forest"), "A cat in a forest, forest background"),
        (moving("cat", "red dog", "red dog", prompt="Cats"), "Cats| red dog"),
        (moving("red car", "blue car", prompt="A red car"), "A red car| blue car"),
    ],
)
def test_lvds_wording(scene, want):
    told = with_background(scene)
    assert told.prompt == want and told.tracks == scene.tracks


def test_lvds_wording_as_published():
    """By the original's rule a word of the phrase will do, as spelt; the phrase is then what was found."""
    told = with_background_published(moving("red car", "ball 1", "Dog", prompt="A blue car and two balls with a dog."))
    assert told.prompt == "A blue car and two balls with a dog| Dog"
    assert [track.phrase for track in told.tracks] == ["red car", "balls", "Dog"]
    assert with_background_published(moving(prompt="A cat.", background="sea")).prompt == "A cat, sea background"


@pytest.mark.parametrize(
    ("scene", "want", "phrases"),
    [
        (still("a cup", "an apple", "an apple", background="A kitchen"), "A kitchen with a cup and two apples",
         ["a cup", "two apples", "two apples"]),
        (still("cat", background="grass"), "a cat, grass background", ["a cat"]),
        (still("cat", "red ball", "dog"), "a cat, a red ball and a dog", ["a cat", "a red ball", "a dog"]),
        (still(prompt="A realistic photo of a scene without backpacks", negative="backpacks"),
         "A realistic photo of a scene", []),
        (still(prompt="A street with no cars, but no dogs", negative="cars, dogs"), "A street", []),
        (still(prompt="Cars are what I do not want", negative="cars"), "a scene", []),
        (still("cup", prompt="A cup without a spoon", negative="spoon"), "a cup", ["a cup"]),
        (still(prompt="A cat."), "A cat.", []),
        (moving("bear", prompt="A bear walks", background="forest"), "A bear walks, forest background", ["bear"]),
        (moving("bear", prompt="A bear walks without people", negative="people"), "a bear", ["a bear"]),
    ],
)  # fmt: skip
def test_lmds_wording(scene, want, phrases):
    """Objects of one phrase are told together, articles stand once, and nothing unwanted is named."""
    told = listing_objects(scene)
    assert (told.prompt, [track.phrase for track in told.tracks]) == (want, phrases)
    assert [track.boxes for track in told.tracks] == [track.boxes for track in scene.tracks]


def test_lmds_wording_as_published():
    """In alphabetical order, articles as they are, and its plural of "a panda bear"."""
    told = listing_objects_published(
        still("a dog", "an apple", "a panda bear", "cat", "a panda bear", background="sea")
    )
    assert told.prompt == "sea with a dog, two pandbears, an apple, cat"
    assert [track.phrase for track in told.tracks] == ["a dog", "two pandbears", "two pandbears", "an apple", "cat"]
    assert object_scene(told, 1).prompt == "sea with a panda bear"
    assert listing_objects_published(still(prompt="A cat.")).prompt == "A cat."


@pytest.mark.parametrize(
    ("track", "prompt", "phrase"),
    [
        (Track("an apple", BOX), "A kitchen with an apple", "an apple"),
        (Track("a sheep", BOX), "A kitchen with a sheep", "a sheep"),
        (Track("the cat", BOX, "a fluffy cat on a chair"), "A kitchen with a fluffy cat on a chair", "cat"),
    ],
)
def test_an_object_alone(track, prompt, phrase):
    """Of two told together each is told alone as one; words of its own stand in place of its phrase."""
    one, two = (Scene("x", (track,) * count, "A kitchen", seconds=0) for count in (1, 2))
    for scene in (one, listing_objects(one), two, listing_objects(two)):
        alone = object_scene(scene, len(scene.tracks) - 1)
        assert alone.prompt == prompt and len(alone.tracks) == 1
        assert alone.tracks[0].phrase == phrase or (scene.tracks[0].phrase == "two cats")


def test_styles_of_methods():
    """A method without tracks tells its prompt as typed; a stranger's method is worded as LVD's."""
    styles = {name: method.prompt_style for name, method in METHODS.items()}
    assert styles["none"] is as_typed and styles["lvd"] is with_background
    lmds = {name for name, style in styles.items() if style is listing_objects}
    assert lmds >= {"lmd", "lmd:sam", "lmd+", "lmd+:sam", "gligen", "boxdiff", "backward-guidance"}
    assert styles["multidiffusion"] is keeping_prompt
    assert as_method([Guidance()]).prompt_style is with_background
    for name, style in styles.items():
        if not name.endswith("published"):
            assert style(Scene("A cat.", background="sea")).prompt in ("A cat.", "sea background"), name


def test_multidiffusion_keeps_a_prompt_that_stands_for_the_background():
    """Without the clause about absent objects; with a background it is worded as LMD's."""
    words = {"prompt": "A cat asleep without a dog", "negative": "dog"}
    assert keeping_prompt(still("cat", **words)).prompt == "A cat asleep"
    indoors = still("cat", background="A kitchen", **words)
    assert keeping_prompt(indoors) == listing_objects(indoors)
    assert keeping_prompt(indoors).prompt == "A kitchen with a cat"


@pytest.fixture(scope="module")
def image_model(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet2d())))


class Encoded:
    """The texts that a model is asked to encode."""

    def __init__(self, model, monkeypatch):
        self.calls, plain = [], model.encode
        monkeypatch.setattr(model, "encode", lambda *texts: self.calls.append(texts) or plain(*texts))


@pytest.mark.parametrize("method", ["none", "lvd", "lmd", "boxdiff", "backward-guidance", "multidiffusion"])
def test_the_text_encoded_is_the_text_recorded(image_model, monkeypatch, tmp_path, method):
    """Of LMD and MultiDiffusion the runs of objects too; the file says what was told, and keeps the scene as it was."""
    scene = Scene("Two cats without a dog", (Track("a cat", BOX), Track("a cat", BOX)), "A red bear", "dog", 0.0)
    encoded = Encoded(image_model, monkeypatch)
    video = render(scene, image_model, method, steps=2)
    prompts, negatives = encoded.calls[0]
    assert prompts == [video.info["prompt_text"]] and negatives == [video.info["negative_text"]] == ["dog"]
    assert video.info["scene"] == json.loads(scene.to_json()) and video.info["prompt"] == scene.prompt
    listed = method not in ("none", "lvd")
    assert (prompts[0] == "A red bear with two cats") == listed and ("dog" in prompts[0]) != listed
    if method == "lmd":
        assert encoded.calls[1][0] == ["A red bear with a cat"] * 2
    if method == "multidiffusion":
        assert encoded.calls[1][0] == ["A red bear", "a cat", "a cat"]


def test_negative_words_of_kinds_of_run(image_model, monkeypatch):
    """After the model's own; with those emptied there are none, and what the scene does not want stays."""
    scene = Scene("A cat", (Track("cat", BOX),), "the bear", "dog", 0.0)
    encoded = Encoded(image_model, monkeypatch)
    for negative, own, object_own in (("bad", "dog, bad", "dog, bad, two, many"), ("", "dog", "dog")):
        encoded.calls.clear()
        render(scene, image_model, "lmd", steps=2, negative=negative)
        (_, (whole,)), (_, (alone,)) = encoded.calls
        assert whole == own and alone.startswith(object_own) and (alone == "dog") == (not negative)


def test_an_edit_of_words_that_are_not_told_is_refused(image_model):
    """The plain model is told no background; LMD is."""
    scene, edit = Scene("A cat", (Track("cat", BOX),), "the bear", seconds=0), Edit(swap={"bear": "dog"})
    with pytest.raises(AnimaticError, match=r"'bear' is not in the text that is encoded, 'A cat'"):
        edit_pair(scene, edit, image_model, "none", steps=2)
    before, after = edit_pair(scene, edit, image_model, "lmd", steps=2)
    assert before.info["prompt_text"] == "the bear with a cat" and after.info["prompt_text"] == "the dog with a cat"
