"""Prompts longer than CLIP reads at once: encoded in chunks, with a warning, and every word found there."""

import warnings
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from animatic.backbones import load
from animatic.controls.attention_maps import AttentionMaps
from animatic.controls.boxdiff import BoxDiff
from animatic.controls.composition import Composition
from animatic.controls.edits import PromptToPrompt
from animatic.controls.energy import Energy
from animatic.controls.guidance import Guidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.controls.terms import BoxEnergy, Ratio
from animatic.core.attention import fused_attention, mean_map
from animatic.core.loop import sample
from animatic.core.text import ClipText, truncating
from animatic.core.types import AttentionMapRequest
from animatic.denoising import encode, encode_stories
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.rendering import render, render_batch
from animatic.scene import Scene, Track

FILLER = "many very quiet green trees under a wide blue sky "  # a letter is a token here: 41 of them
LONG = FILLER * 2 + "and a cat on grass"
BOX = ((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0))


@pytest.fixture(scope="module")
def text():
    words = tiny.tokenizer()
    return ClipText("tiny", words, tiny.text_encoder(words).eval())


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet3d())))


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@torch.no_grad()
def test_states_are_those_of_the_chunks_read_alone(text):
    """By hand: 75 tokens between a start and an end token, the last chunk padded, an empty one for a short prompt."""
    with pytest.warns(AnimaticWarning, match="encoded in 2 chunks: tiny reads 75 at a time"):
        states = text.in_chunks(["a cat", LONG])
    ids = text.tokenizer(LONG, add_special_tokens=False)["input_ids"]
    assert 75 < len(ids) <= 150
    start, end, pad = text.tokenizer.bos_token_id, text.tokenizer.eos_token_id, text.tokenizer.pad_token_id
    rest = [start, *ids[75:], end]
    chunks = torch.tensor([[start, *ids[:75], end], rest + [pad] * (77 - len(rest))])
    want = text.encoder(input_ids=chunks).last_hidden_state.flatten(0, 1)
    assert states.shape == (2, 154, tiny.WIDTH)
    assert torch.allclose(states[1], want, atol=1e-5)  # alone or in a batch: the last bits differ
    assert torch.allclose(states[0, :77], text(["a cat"])[0], atol=1e-5)
    assert torch.allclose(states[0, 77:], text([""])[0], atol=1e-5)


@torch.no_grad()
def test_short_prompts_are_read_as_ever(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for prompts in (["a cat", ""], ["a" * 75]):
            assert torch.equal(text.in_chunks(prompts), text(prompts))


@pytest.mark.parametrize("before", [0, 70, 73, 74, 75, 76, 149, 150, 151])
def test_words_are_found_in_their_chunks(text, before):
    """Also where a chunk ends inside the word."""
    prompt = "a" * before + " cat"
    ids = text.token_ids(prompt)
    found = text.tokenizer.convert_ids_to_tokens([ids[i] for i in text.positions(prompt, "cat")])
    assert "".join(found).replace("</w>", "") == "cat"
    assert [i for i in ids if i not in (text.tokenizer.bos_token_id, text.tokenizer.eos_token_id)] == (
        text.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    )


@torch.no_grad()
def test_the_summary_of_a_long_phrase_is_that_of_its_first_chunk(text):
    first = "a" * 75
    assert torch.allclose(text.pooled([first + " cat", "dog"]), text.pooled([first, "dog"]), atol=1e-5)


def test_what_cannot_is_refused(tmp_path, mini):
    """mini has learnt 64 tokens and no more; CogVideoX and Wan the number that they were trained on."""
    with pytest.raises(AnimaticError, match="tokens; mini reads at most 64"):
        mini.encode(["a red ball and " * 20 + "a cat"], [""])
    dit = load(str(tiny.cogvideox(tmp_path / "dit")))
    with pytest.raises(AnimaticError, match="tokens; dit reads at most 16"):
        dit.encode(["a zebra walks quickly"], [""])


def test_published_methods_cut_prompts_as_the_originals_do(video):
    """What is cut off changes nothing; the plain method reads it. The model itself stays as it was."""
    box = (Track("trees", BOX),)
    shown = [Scene(LONG, box), Scene(LONG.replace("cat", "dog"), box)]

    def frames(scene, method):
        return render_batch([scene], video, method, steps=2, frames=2, size=(64, 64))[0].frames.astype(int)

    with pytest.warns(AnimaticWarning, match=r"tokens; model.* reads at most 77, the rest is cut"):
        cat, dog = (frames(scene, "lvd:published") for scene in shown)
    assert np.abs(cat - dog).max() <= 1
    with pytest.warns(AnimaticWarning, match="encoded in 2 chunks"):
        assert np.abs(frames(shown[0], "lvd") - frames(shown[1], "lvd")).max() > 1
    assert not video.text.truncate


@torch.no_grad()
def test_cut_prompts_keep_their_start_and_end(text, tmp_path):
    """CLIP's first 75 tokens and T5's all but one, then the end token; what is cut off has no place."""
    cut = copy(text)
    cut.truncate = True
    with pytest.warns(AnimaticWarning, match="the rest is cut"):
        states = cut.in_chunks([LONG])
    ids = text.tokenizer(LONG, add_special_tokens=False)["input_ids"][:75]
    assert cut.token_ids(LONG) == [text.tokenizer.bos_token_id, *ids, text.tokenizer.eos_token_id]
    assert torch.allclose(states, text.states(torch.tensor([cut.token_ids(LONG)])), atol=1e-5)
    assert cut.positions(LONG, "trees") == text.positions(LONG, "trees") and cut.positions(LONG, "cat") == ()

    dit = load(str(tiny.cogvideox(tmp_path / "dit")))
    words = "a zebra walks quickly"
    with pytest.warns(AnimaticWarning, match="reads at most 16, the rest is cut"):
        cond = truncating(dit).encode([words], [""])
    kept = dit.text.tokenizer(words, add_special_tokens=False)["input_ids"][:15]
    assert cond.text.shape[1] == 16 and truncating(dit).text.token_ids(words)[:-1] == kept


@pytest.mark.filterwarnings("ignore::animatic.errors.AnimaticWarning")
class TestLayers:
    """What reads text reads more of it."""

    scene = Scene(LONG, (Track("cat", BOX),))

    def test_negative_prompts_may_be_longer(self, video):
        cond = video.encode(["a cat"], [LONG])
        assert cond.text.shape == (2, 154, tiny.WIDTH)
        short = video.encode(["a cat"], ["bad"])
        x = video.noise([0], 3, 64, 64)
        runs = [sample(video, video.schedule(2), x, c, [Guidance(3.0)]) for c in (cond, short)]
        assert runs[0].isfinite().all() and not torch.allclose(*runs)

    def test_attention_is_asked_of_the_right_token(self, video):
        """The map of the word is that of its column, asked by hand."""
        seen = {}
        x = video.noise([0], 3, 64, 64)
        heat = AttentionMaps(lambda row, phrase, map: seen.update({phrase: map}), steps=(0,))
        cond = encode([self.scene], video)
        sample(video, video.schedule(1), x, cond, [heat, Guidance(1.0)], scenes=[self.scene])

        tokens = video.text.positions(self.scene.prompt, "cat")
        assert all(token > 77 for token in tokens)
        maps = AttentionMapRequest(torch.tensor([tokens]))
        with torch.no_grad():
            video(x, next(iter(video.schedule(1))), replace(cond.positive, map_request=maps), fused_attention)
        want = mean_map(maps.found)[0].mean(1)  # of the word's tokens
        assert torch.allclose(seen["cat"], want / want.amax(), atol=1e-4)

    @pytest.mark.parametrize("method", ["lvd", "boxdiff", "layout-attention", "lmd", "backward-guidance"])
    def test_boxes_steer(self, video, method):
        """The word stands in the second chunk: a track moves the frames, another place moves them elsewhere."""
        terms = {"lvd": BoxEnergy(), "boxdiff": BoxDiff(), "backward-guidance": Ratio()}
        if method == "layout-attention":
            control = LayoutAttention()
        elif method == "lmd":
            energy = Energy(BoxEnergy(), scale=30, until=0.5, iterations=1)
            control = Composition(energy, (Guidance(2.0),))
        else:
            control = Energy(terms[method], scale=30, until=0.5, iterations=1)
        x, cond = video.noise([0], 3, 64, 64), encode([self.scene], video)
        none = sample(video, video.schedule(2), x, cond, [Guidance(2.0)])
        steered = sample(video, video.schedule(2), x, cond, [Guidance(2.0), control], scenes=[self.scene])
        assert steered.isfinite().all() and not torch.allclose(steered, none, atol=1e-3)

    @pytest.mark.parametrize("method", ["ditctrl", "ditctrl:masked", "ditctrl+lvd", "boxdiff", "layout-attention"])
    def test_a_story_of_a_long_and_a_short_scene(self, video, method):
        """Every part has as many tokens, and the short scene's word is asked of its own part."""
        story = (self.scene, Scene("a dog", (Track("dog", BOX),)))
        cond = encode_stories([story], video)
        assert cond.text.shape == (2, 2 * 154, tiny.WIDTH)
        made = render(story, video, method, steps=2, size=(64, 64))
        assert made.frames.std() > 0

    def test_an_edit_leaves_its_source(self, video):
        prompts = [LONG, LONG.replace("cat", "dog")]
        x = video.noise([0, 0], 3, 64, 64)
        cond = video.encode(prompts, ["", ""])
        scenes = [Scene(prompt) for prompt in prompts]
        one, other = sample(video, video.schedule(2), x, cond, [Guidance(2.0), PromptToPrompt()], scenes=scenes)
        alone = sample(video, video.schedule(2), x[:1], video.encode(prompts[:1], [""]), [Guidance(2.0)])[0]
        scale = float(alone.abs().max())
        assert torch.allclose(one, alone, atol=1e-4 * scale) and not torch.allclose(one, other, atol=1e-3 * scale)


def test_the_whole_way_says_it_once(video):
    """One line for a prompt, also where boxes are told to a batch."""
    with pytest.warns(AnimaticWarning) as said:
        videos = render_batch([Scene(LONG)] * 2, video, "none", [1, 2], steps=1, frames=2, size=(64, 64))
    assert len({str(w.message) for w in said}) == 1 and len(videos) == 2
