"""The toy world off the grid: where sprites stand, how they move, what is said of them, and who measures it."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from animatic.backbones import load
from animatic.backbones.codec import PatchCodec
from animatic.backbones.small_model import save_model
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track
from animatic.toy import world
from animatic.toy.captions import held_out, invent
from animatic.toy.detector import ToyDetector, same_colour
from animatic.toy.evals import offgrid as evaluate
from animatic.toy.evals.held_out import held_out_cases
from animatic.toy.grid_captions import invent as invent_on_grid
from animatic.toy.objects import EASES, ToyObject
from animatic.toy.scan import OFF_GRID
from animatic.toy.train_decoder import new_codec, refined
from animatic.toy.train_dit import DitCurriculum, DitTrainer
from animatic.toy.train_grounding import GroundingTrainer
from animatic.toy.train_grounding import start as start_grounding
from animatic.toy.train_mini import MiniCurriculum, MiniTrainer, start, words_to_learn
from animatic.toy.vocabulary import with_words

FRAMES = world.FRAMES
NAMED = "horse plane train bicycle duck sun moon cloud cake clock".split()  # those the world was asked to gain


def film(*tracks: Track, frames: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return world.draw(Scene("a scene", tracks, "sea"), frames)


def test_the_world_has_many_nouns() -> None:
    assert len(world.NOUNS) >= 30 and set(NAMED) <= world.NOUNS.keys()
    assert world.identify("red trains") == ("train", "red") and world.identify("green sun") == ("sun", "")
    with pytest.raises(AnimaticError, match="zebra"):
        world.identify("zebra")


@pytest.mark.parametrize("noun", world.NOUNS)
def test_every_pixel_and_size_can_be_asked_for(noun: str) -> None:
    rng = random.Random(noun)
    for _ in range(40):
        side = rng.randint(world.SMALLEST, world.LARGEST)
        x, y = (rng.randint(0, world.SIZE - side) for _ in range(2))
        assert world.place(world.tight(noun, x, y, side)) == (x, y, side)


@pytest.mark.parametrize("noun", world.NOUNS)
def test_a_sprite_is_drawn_in_its_box(noun: str) -> None:
    box = world.tight(noun, 17, 11, 29)
    video, cover = film(Track(noun, (box, None)), frames=2)
    rows, columns = (np.flatnonzero((cover[0, 0] > 0.3).any(axis)) for axis in (1, 0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.array(edges) - np.array(box) * world.SIZE).max() <= 1.5  # anti-aliased edges, whole pixels
    assert not cover[0, 1].any() and np.array_equal(video[1], film()[0][0])


@pytest.mark.parametrize("noun", sorted(world.FACING))
def test_what_has_a_front_looks_where_it_goes(noun: str) -> None:
    left, right = ([world.tight(noun, x, 20, 24) for x in xs] for xs in ((30, 20, 10), (10, 20, 30)))
    assert world.mirrored(noun, left) == [False] * 3 and world.mirrored(noun, right) == [True] * 3

    # in the middle frame both stand at the same pixel: one picture is the other in a mirror
    there, back = (film(Track(noun, tuple(boxes)), frames=3)[1][0, 1, 20:44, 20:44] for boxes in (left, right))
    assert np.array_equal(there, back[:, ::-1]) and not np.array_equal(there, back)


def test_one_that_stops_or_turns_keeps_or_changes_its_front() -> None:
    xs = (10, 14, 18, 18, 18, 14, 10)
    turned = world.mirrored("car", [world.tight("car", x, 20, 24) for x in xs])
    assert turned[:3] == [True] * 3 and turned[-2:] == [False] * 2
    assert world.mirrored("bear", [world.tight("bear", x, 20, 24) for x in xs]) == [False] * 7


@pytest.mark.parametrize("ease", EASES)
def test_motion_is_smooth(ease) -> None:
    path = lambda u: (u, None, 1.0)  # noqa: E731
    track = ToyObject("ball", "", 24, (0.0, 0.5), path, ease).track(FRAMES)
    assert (ease(0.0), ease(1.0)) == (0.0, 1.0)

    squares = [world.place(box) for box in track.boxes if box]
    steps = np.diff([x for x, _, _ in squares])
    assert squares[0][0] == 0 and squares[-1][0] == 40 and (steps >= 0).all()
    assert np.abs(np.diff(steps)).max() <= 2  # rounding to pixels alone is 1


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_scenes_are_what_their_captions_say(frames: int) -> None:
    rng = random.Random(7)
    scenes = [invent(rng, frames) for _ in range(1500)]
    found = {world.identify(t.phrase) for s in scenes for t in s.tracks}
    assert {noun for noun, _ in found} == set(world.NOUNS)
    assert {s.background for s in scenes} == set(world.BACKGROUNDS) and {len(s.tracks) for s in scenes} == {
        1,
        2,
        3,
        4,
        5,
    }

    encoder = load("mini", "cpu").text
    for scene in scenes:
        for track in scene.tracks:
            assert len(track.boxes) == frames and any(track.boxes)
            assert encoder.positions(scene.prompt, track.phrase), (scene.prompt, track.phrase)
            assert not held_out(*world.identify(track.phrase), scene.background)


def test_some_triples_are_held_out_of_every_background() -> None:
    cases = held_out_cases(random.Random(0), 40, tuple(world.NOUNS))
    assert all(held_out(*case.objects[0], case.scene.background) for case in cases)
    assert len({case.scene.background for case in cases}) >= 8 and len({case.objects[0][0] for case in cases}) >= 15


def test_new_words_leave_the_old_ones_alone() -> None:
    old = load("mini", "cpu").text.tokenizer
    new, rng = with_words(old, words_to_learn()), random.Random(1)
    assert all(len(new.tokenize(word)) == 1 for word in words_to_learn())
    for frames in (1, 8):
        prompts = [invent_on_grid(rng, frames).prompt for _ in range(200)]
        assert new(prompts)["input_ids"] == old(prompts)["input_ids"]


def test_the_detector_is_right_to_a_pixel() -> None:
    detector, rng = ToyDetector(world=OFF_GRID, exact=True), random.Random(11)
    scenes = [invent(rng, 1) for _ in range(60)]
    scenes = [s for s in scenes if len(s.tracks) == 1][:12]
    finds = detector(np.concatenate([world.draw(scene, 1)[0] for scene in scenes]))
    for scene, found in zip(scenes, finds, strict=True):
        (track,), (noun, colour) = scene.tracks, world.identify(scene.tracks[0].phrase)
        assert [d.noun for d in found] == [noun] and same_colour(noun, colour, found[0].colour, OFF_GRID), scene.prompt
        assert evaluate.distance(found[0].box, track.boxes[0]) <= 1  # type: ignore[arg-type]


def test_halves_and_doubles_are_not_one_whole_object() -> None:
    """A film as drawn passes; two balls that overlap, which today's `mini` draws between cells, do not."""
    squares = [(6 + 3 * f, 20, 24) for f in range(4)]
    one, two = (
        Track("red ball", tuple(world.tight("ball", x + beside, y, side) for x, y, side in squares))
        for beside in (0, 11)
    )
    case = evaluate.HeldOutCase(Scene("A red ball in the sea", (one,), "sea"), (("ball", "red"),))
    detector = ToyDetector(world=OFF_GRID, exact=True)

    drawn = world.draw(case.scene, 4)[0]
    seen = evaluate.judge_one(case, drawn, detector(drawn))
    assert seen["one whole object"] == seen["within 3 px"] == seen["noun"] == seen["colour"] == 1
    assert seen["jerk"] == pytest.approx(seen["jerk of truth"], abs=0.1)  # pixels; the detector sees the drawn places

    capsule = world.draw(replace(case.scene, tracks=(one, two)), 4)[0]
    assert evaluate.judge_one(case, capsule, detector(capsule))["one whole object"] == 0


def test_jerk_is_the_second_difference() -> None:
    assert evaluate.jerk([(0.0, 0.5), (0.25, 0.5), (0.5, 0.5)]) == 0
    assert evaluate.jerk([(0.0, 0.5), (0.25, 0.5), (0.25, 0.5)]) == pytest.approx(16)  # a quarter of 64 pixels


def test_an_untrained_refiner_changes_nothing_and_is_kept(tmp_path) -> None:
    plain = load("mini", "cpu").vae
    codec, latents = refined(plain, width=8), torch.randn(2, 32, 8, 8)
    assert torch.equal(codec.decode(latents).sample, plain.decode(latents).sample)
    learning = [name for name, p in codec.named_parameters() if p.requires_grad]
    assert learning and all(name.startswith("refiner.") for name in learning)

    for parameter in codec.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    codec.save_pretrained(tmp_path)
    again = PatchCodec.from_pretrained(tmp_path)
    assert torch.equal(codec.decode(latents).sample, again.decode(latents).sample)
    assert not torch.equal(codec.decode(latents).sample, plain.decode(latents).sample)


def test_the_next_mini_begins_with_the_inner_levels_of_the_present(tmp_path) -> None:
    present, fresh = load("mini", "cpu").unet.state_dict(), start(new_codec())
    network = fresh.unet.state_dict()
    inner = {name: weight for name, weight in present.items() if name.startswith("mid_block") and "fuser" not in name}
    assert inner and all(torch.equal(network[name], w) for name, w in inner.items() if "time_emb_proj" not in name)

    # Blocks are counted from outside on the way down, from inside on the way up.
    query = "attentions.0.transformer_blocks.0.attn2.to_q.weight"
    for old, new in (("down_blocks.0", "down_blocks.1"), ("up_blocks.1", "up_blocks.1")):
        assert torch.equal(network[f"{new}.{query}"], present[f"{old}.{query}"])
    assert not any("fuser" in name for name in network)

    # The grounding goes the same way.
    save_model(tmp_path, fresh)
    grounded = start_grounding(tmp_path).unet.state_dict()
    gate = "attentions.0.transformer_blocks.0.fuser.alpha_attn"
    assert torch.equal(grounded[f"down_blocks.1.{gate}"], present[f"down_blocks.0.{gate}"])
    assert torch.equal(grounded["position_net.null_positive_feature"], present["position_net.null_positive_feature"])


def test_a_run_of_the_curriculum_is_exported_and_resumed(tmp_path) -> None:
    curriculum = MiniCurriculum(
        still_steps=1, clip_steps=1, stills=2, clips=1, still_fraction=0.0, decay=1, export_every=1
    )
    MiniTrainer(curriculum, tmp_path).train(stop_at=1)
    assert load(str(tmp_path / "mini"), "cpu").words == tuple(world.NOUNS)

    folder = MiniTrainer(curriculum, tmp_path).train()
    model = load(str(folder), "cpu")
    assert model.geometry.frames == FRAMES and model.geometry.fps == world.FPS
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    assert "grounding" not in model.provides

    boxes = replace(curriculum, still_steps=0, export_every=0)
    GroundingTrainer(boxes, tmp_path / "grounding", folder).train()
    assert "grounding" in load(str(folder), "cpu").provides


def test_a_transformer_learns_on_the_same_latents(tmp_path) -> None:
    curriculum = DitCurriculum(still_steps=1, clip_steps=1, stills=2, clips=1, still_fraction=0.0, decay=1)
    trainer = DitTrainer(curriculum, tmp_path)
    assert sum(p.numel() for p in trainer.model.unet.parameters()) <= 6e6
    model = load(str(trainer.train()), "cpu")
    assert model.name == "mini-dit" and model.geometry.frames == FRAMES and "text maps" in model.provides

    told = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["frames"] for line in told] == [1, FRAMES]
    assert all(0 < line["attention loss"] <= 1 for line in told)  # of stills and of clips
