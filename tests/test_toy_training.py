"""The training of `mini` and how it is judged."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import DDIMScheduler

from animatic.backbones import load
from animatic.backbones.codec import PatchCodec
from animatic.backbones.small_model import save_model
from animatic.core.process import Process
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track
from animatic.toy import train_dit, world
from animatic.toy.captions import invent
from animatic.toy.curriculum import CurriculumConfig
from animatic.toy.detector import ToyDetector, same_colour
from animatic.toy.evals import judging
from animatic.toy.evals.held_out import HeldOutCase
from animatic.toy.start import start
from animatic.toy.train_decoder import new_codec, refined
from animatic.toy.train_dit import DitCurriculum, DitTrainer
from animatic.toy.train_mini import MiniTrainer
from animatic.toy.trajectories import Trajectories

FRAMES = world.FRAMES
pytestmark = pytest.mark.usefixtures("quick_start")


def test_the_detector_is_right_to_a_pixel() -> None:
    detector, rng = ToyDetector(), random.Random(11)
    scenes = [invent(rng, 1) for _ in range(60)]
    scenes = [s for s in scenes if len(s.tracks) == 1][:12]
    finds = detector(np.concatenate([world.draw(scene, 1)[0] for scene in scenes]))
    for scene, found in zip(scenes, finds, strict=True):
        (track,), (noun, colour) = scene.tracks, world.identify(scene.tracks[0].phrase)
        assert [d.noun for d in found] == [noun] and same_colour(noun, colour, found[0].colour), scene.prompt
        assert judging.distance(found[0].box, track.boxes[0]) <= 1  # type: ignore[arg-type]


def test_halves_and_doubles_are_not_one_whole_object() -> None:
    """A film as drawn passes; two balls that overlap, which today's `mini` draws between cells, do not."""
    squares = [(6 + 3 * f, 20, 24) for f in range(4)]
    one, two = (
        Track("red ball", tuple(world.tight("ball", x + beside, y, side) for x, y, side in squares))
        for beside in (0, 11)
    )
    case = HeldOutCase(Scene("A red ball in the sea", (one,), "sea"), (("ball", "red"),))
    detector = ToyDetector()

    drawn = world.draw(case.scene, 4)[0]
    seen = judging.judge_one(case, drawn, detector(drawn))
    assert seen["one whole object"] == seen["within 3 px"] == seen["noun"] == seen["colour"] == 1
    assert seen["jerk"] == pytest.approx(seen["jerk of truth"], abs=0.1)  # pixels; the detector sees the drawn places

    capsule = world.draw(replace(case.scene, tracks=(one, two)), 4)[0]
    assert judging.judge_one(case, capsule, detector(capsule))["one whole object"] == 0


def test_jerk_is_the_second_difference() -> None:
    assert judging.jerk([(0.0, 0.5), (0.25, 0.5), (0.5, 0.5)]) == 0
    assert judging.jerk([(0.0, 0.5), (0.25, 0.5), (0.25, 0.5)]) == pytest.approx(16)  # a quarter of 64 pixels


def test_an_untrained_refiner_changes_nothing_and_is_kept(tmp_path) -> None:
    plain = new_codec()
    codec, latents = refined(plain, width=8), torch.randn(2, plain.channels, 64 // plain.patch, 64 // plain.patch)
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


def test_a_run_of_the_curriculum_is_exported_and_resumed(tmp_path) -> None:
    curriculum = CurriculumConfig(
        still_steps=1, clip_steps=1, stills=2, clips=1, still_fraction=0.0, decay=1, export_every=1
    )
    MiniTrainer(curriculum, tmp_path).train(stop_at=1)
    assert load(str(tmp_path / "mini"), "cpu").words == tuple(world.NOUNS)

    folder = MiniTrainer(curriculum, tmp_path).train()
    model = load(str(folder), "cpu")
    assert model.geometry.frames == FRAMES and model.geometry.fps == world.FPS
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    assert "grounding" in model.provides


@pytest.fixture
def new_precision():
    """accelerate as in a new process, and as it was afterwards."""
    yield AcceleratorState._reset_state
    AcceleratorState._reset_state()
    Accelerator(mixed_precision="no")


def test_bfloat16_trains_nearly_the_same(tmp_path, new_precision) -> None:
    losses = {}
    for precision in ("no", "bf16"):
        curriculum = CurriculumConfig(
            1, 1, stills=2, clips=1, still_fraction=0.0, decay=1, mixed_precision=precision, export_every=0
        )
        if precision == "bf16":
            with pytest.raises(AnimaticError, match="is 'bf16', and was 'no' in this process; want a new process"):
                MiniTrainer(curriculum, tmp_path / precision)
            new_precision()
        trainer = MiniTrainer(curriculum, tmp_path / precision)
        trainer.train()
        assert {p.dtype for p in trainer.train_module.parameters()} == {torch.float32}
        lines = (tmp_path / precision / "log.jsonl").read_text().splitlines()
        losses[precision] = [json.loads(line)[key] for line in lines for key in ("error", "attention loss")]
    assert losses["bf16"] != losses["no"]
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.03)


def test_a_transformer_learns_on_the_same_latents(tmp_path) -> None:
    curriculum = DitCurriculum(still_steps=1, clip_steps=1, stills=2, clips=1, still_fraction=0.0, decay=1)
    trainer = DitTrainer(curriculum, tmp_path)
    assert sum(p.numel() for p in trainer.model.unet.parameters()) <= 6e6
    model = load(str(trainer.train()), "cpu")
    teacher = load("mini", "cpu")
    assert model.name == "mini-dit" and model.geometry == teacher.geometry and "text maps" in model.provides
    assert model.words == teacher.words != tuple(world.NOUNS)

    told = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["frames"] for line in told] == [1, teacher.geometry.frames]
    assert all(0 < line["attention loss"] <= 1 for line in told)  # of stills and of clips


def test_a_distilled_model_learns_what_its_teacher_predicts(tmp_path, monkeypatch) -> None:
    """Of scenes that the teacher knows; a model that predicts the same has no error, whatever noise was drawn."""
    monkeypatch.setattr(train_dit, "GUIDANCE", 1.0)
    curriculum = DitCurriculum(still_steps=2, clip_steps=0, stills=6, decay=1)
    trainer = DitTrainer(curriculum, tmp_path)
    batch = next(trainer.batches())
    nouns = {world.identify(track.phrase)[0] for scene in batch.scenes for track in scene.tracks}
    assert nouns <= set(load("mini", "cpu").words)

    videos, covers = batch.draw()

    def error() -> float:
        torch.manual_seed(0)
        return trainer.error(batch, videos, covers).item()

    with_features = error()
    monkeypatch.setattr(train_dit, "ALIGNMENT_WEIGHT", 0.0)
    own = error()
    trainer.model = load("mini", "cpu")
    assert error() < 1e-6 < own < with_features


def test_a_distilled_model_learns_the_guidance_of_its_teacher(tmp_path, monkeypatch) -> None:
    """The target is the teacher's extrapolation, so that the model needs no second branch; without a caption, none."""
    trainer = DitTrainer(DitCurriculum(still_steps=2, clip_steps=0, stills=2, decay=1), tmp_path)
    noisy, t = torch.randn(2, 32, 1, 8, 8), torch.tensor([900, 900])

    def target(scale: float, captions: list[str]) -> torch.Tensor:
        monkeypatch.setattr(train_dit, "GUIDANCE", scale)
        return trainer.guided(noisy, t, captions)[0]

    captions = ["a red ball on the grass", ""]
    without, captioned, twice = target(0.0, captions), target(1.0, captions), target(2.0, captions)
    assert (captioned - without)[0].abs().mean() > 0.01
    assert torch.allclose(twice[0], (2 * captioned - without)[0], atol=1e-4)
    assert torch.allclose(twice[1], without[1], atol=1e-4)
    assert trainer.model.defaults.guidance == 1


def test_the_states_of_a_training_are_those_of_sampling(tmp_path) -> None:
    """Runs go on as DDIM does; one that has ended is replaced."""
    process = Process.of(load("mini", "cpu").scheduler)
    rng, scenes = random.Random(1), iter(range(100))

    def scene() -> tuple[str, torch.Tensor]:
        return f"scene {next(scenes)}", torch.full((1, 1, 2, 2), 0.5)

    runs = Trajectories(3, process, scene, rng)
    assert {run.step for run in runs.runs} != {0}  # the first ones begin anywhere

    # Until a new one begins, from noise alone.
    torch.manual_seed(0)
    while True:
        taken = runs.take(1)
        runs.put(taken, torch.zeros(1, 1, 1, 2, 2))
        new = runs.runs[-1]
        if new.caption not in ("scene 0", "scene 1", "scene 2"):
            break
    assert taken[0].step == taken[0].steps - 1 and new.step == 0 and len(runs.runs) == 3
    assert runs.timesteps([new]).tolist() == [999] and not torch.allclose(new.state, torch.full((1, 1, 2, 2), 0.5))

    # The same network, by diffusers' scheduler.
    scheduler = DDIMScheduler.from_config(load("mini", "cpu").scheduler.config)
    scheduler.set_timesteps(new.steps)
    state = new.state[None]
    runs.runs = [new]
    for i, t in enumerate(scheduler.timesteps[:-1]):
        taken = runs.take(1)
        assert taken[0].step == i and abs(runs.timesteps(taken).item() - t) <= 1
        assert torch.allclose(taken[0].state[None], state, atol=0.02)
        runs.put(taken, 0.3 * taken[0].state[None])
        state = scheduler.step(0.3 * state, t, state).prev_sample


def test_a_state_that_is_not_finite_ends_its_run(tmp_path) -> None:
    process = Process.of(load("mini", "cpu").scheduler)
    runs = Trajectories(1, process, lambda: ("a ball", torch.zeros(1, 1, 2, 2)), random.Random(0))
    runs.put(runs.take(1), torch.full((1, 1, 1, 2, 2), torch.nan))
    assert runs.runs[0].step == 0 and runs.runs[0].state.isfinite().all()


def test_prompts_that_are_too_long_are_cut_to_the_names_in_them(tmp_path) -> None:
    trainer = DitTrainer(DitCurriculum(still_steps=2, clip_steps=0, stills=40, decay=1), tmp_path)
    text = trainer.model.text
    text.limit = 20
    batch = next(trainer.batches())
    drawn = trainer.curriculum.batch(0, nouns=trainer.model.words)
    fits = [len(text.token_ids(scene.prompt)) <= 20 for scene in drawn.scenes]
    assert 0 < sum(fits) < 40
    assert [new == old for new, old in zip(batch.scenes, drawn.scenes, strict=True)] == fits
    assert [bool(caption) for caption in batch.captions] == [bool(caption) for caption in drawn.captions]
    text(batch.captions)  # raises where one is too long


@pytest.mark.parametrize("dropped", [0.0, 1.0])
def test_boxes_are_read_unless_they_are_dropped(tmp_path, dropped: float) -> None:
    curriculum = CurriculumConfig(still_steps=1, clip_steps=0, stills=2, cfg_dropout=0.0, box_dropout=dropped, decay=1)
    trainer = MiniTrainer(curriculum, tmp_path)
    read = []

    def keep(layer, args, given) -> None:
        read.append(given["masks"])

    trainer.model.unet.position_net.register_forward_pre_hook(keep, with_kwargs=True)
    batch = curriculum.batch(0)
    error, attention = trainer.losses(batch)
    assert error > 0 and attention > 0
    tracks = sum(len(scene.tracks) for scene in batch.scenes)
    assert sum(masks.sum().item() for masks in read) == (0 if dropped else tracks)

    # Where no box says which, there are few places.
    centres = [64 * (box[0] + box[2]) / 2 for scene in batch.scenes for track in scene.tracks for box in track.boxes]
    assert all(round(x, 6) % 4 == 0 for x in centres) == bool(dropped)


def test_several_processes_draw_other_scenes_of_the_same_kind() -> None:
    """Steps are those of the optimiser: clips begin after `still_steps` of them, in each process."""
    curriculum = CurriculumConfig(still_steps=3, clip_steps=40, stills=2, clips=1)
    kinds = []
    for step in range(43):
        ours, other = curriculum.batch(step), curriculum.batch(step, 1)
        assert ours.frames == other.frames and ours.step == other.step == step
        assert ours.scenes != other.scenes and ours.noise_seed != other.noise_seed
        kinds.append(ours.frames)
    assert kinds[:3] == [1, 1, 1] and set(kinds[3:]) == {1, FRAMES}


def test_a_run_begins_with_what_a_model_knows(tmp_path) -> None:
    """With the inner levels and words of another network, with all of its own."""
    trained = load("mini", "cpu")
    present, fresh = trained.unet.state_dict(), start(new_codec(), "mini")
    network = fresh.unet.state_dict()
    inner = {name: weight for name, weight in present.items() if name.startswith("mid_block")}
    assert inner and all(torch.equal(network[name], w) for name, w in inner.items() if "time_emb_proj" not in name)
    assert any("fuser" in name for name in inner)  # layers that read boxes go the same way

    # Blocks are counted from outside on the way down, from inside on the way up.
    outer = len(network_levels(network)) - len(network_levels(present))
    query = "attentions.0.transformer_blocks.0.attn2.to_q.weight"
    last = len(network_levels(present)) - 1
    assert torch.equal(network[f"down_blocks.{last + outer}.{query}"], present[f"down_blocks.{last}.{query}"])
    assert torch.equal(network[f"up_blocks.0.{query}"], present[f"up_blocks.0.{query}"])

    # A word that both know has its row, wherever that stands.
    rows, new_rows = (model.text.encoder.get_input_embeddings().weight for model in (trained, fresh))
    places, new_places = (model.text.tokenizer.get_vocab() for model in (trained, fresh))
    assert torch.equal(new_rows[new_places["bear</w>"]], rows[places["bear</w>"]])

    # A model with the same network is continued whole.
    save_model(tmp_path, fresh)
    again = start(new_codec(), str(tmp_path))
    assert all(torch.equal(weight, again.unet.state_dict()[name]) for name, weight in network.items())
    assert all(p.requires_grad for p in (*again.unet.parameters(), *again.text.parameters()))


def network_levels(weights) -> set[str]:
    return {name.split(".")[1] for name in weights if name.startswith("down_blocks")}
