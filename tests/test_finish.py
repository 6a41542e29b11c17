"""Finishing: stages on real networks at tiny size, windows, memory, files of all kinds."""

import json
import random
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import tiny
import torch
from conftest import close_frames
from diffusers import DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from animatic.backbones import load
from animatic.backbones.concat_conditioning import KeyframeConditioning, LowResolutionConditioning, conditioning_named
from animatic.backbones.lavie import convert_lavie
from animatic.backbones.lavie_unet import INTERPOLATION, VSR
from animatic.backbones.motion import frame_between
from animatic.controls.tiles import Tiles, spans
from animatic.core.control import Control
from animatic.core.loop import sample
from animatic.core.schedule import Schedule
from animatic.core.types import Branch, Conditioning
from animatic.errors import AnimaticError
from animatic.finishing.checks import check_memory, planned_shapes
from animatic.finishing.interpolate import Interpolate
from animatic.finishing.pieces import process_in_pieces
from animatic.finishing.refine import Refine, StartFromNoised
from animatic.finishing.stage import Shape, StageContext
from animatic.finishing.stages import drift, finish, stage_context, stages_of
from animatic.finishing.upscale import Upscale
from animatic.scene import Scene, Track
from animatic.toy import world as toyworld
from animatic.toy.captions import invent
from animatic.toy.evals import finishing
from animatic.training.fit import fit
from animatic.training.settings import TrainingSettings
from animatic.video import Video

MADE = {"prompt": "a red ball", "model": "mini", "seed": 1}


@pytest.fixture(scope="module")
def video():
    return Video(toyworld.draw(invent(random.Random(3), 8), 8)[0], 4.0, MADE)


@pytest.fixture(scope="module")
def finishers(tmp_path_factory):
    """Two small networks, each trained for a step: (interpolation, upscaling)."""
    out = tmp_path_factory.mktemp("finishers")
    how = {"text": "none", "target": "x0", "schedule": "zero-snr", "min_snr": 0, "sample_every": 0, "steps": 1}
    how |= {
        "batch_size": 1,
        "dim": 16,
        "multiples": "1,1",
        "blocks": "1,1",
        "data": "toy:64:4",
        "size": "64",
        "learning_rate": 0.1,
    }
    return tuple(
        fit(TrainingSettings(learn=learn, frames=frames, out=str(out / learn[:5]), **how))
        for learn, frames in (("interpolate:4", 9), ("upscale:2", 4))
    )


def test_trained_to_finish_through_the_trainer(finishers):
    more, larger = (load(str(folder)) for folder in finishers)
    assert (
        more.concat_conditioning == KeyframeConditioning(4)
        and larger.concat_conditioning == LowResolutionConditioning(2)
        and larger.geometry.vae_spatial_ratio == 2
    )
    clip = torch.randn(1, 12, 2, 8, 8)
    prior, concat = larger.concat_conditioning.condition(larger.concat_conditioning.degrade(clip))
    assert prior.shape == clip.shape and concat.shape == (1, 3, 2, 8, 8)
    with pytest.raises(AnimaticError, match="8 frames have no key at both ends; want a multiple of 4, and 1"):
        KeyframeConditioning().degrade(torch.zeros(1, 12, 8, 8, 8))
    with pytest.raises(AnimaticError, match="learn is 'upscale:1'; want clips, interpolate:FACTOR"):
        conditioning_named("upscale:1")


def test_a_cascade_keeps_keys_time_and_what_it_has_done(finishers, video, tmp_path):
    more, larger = finishers
    stages = stages_of(f"interpolate:4:model={more}, lanczos:0.5, upscale:2:model={larger}, blend:2")
    lines: list[str] = []
    made = finish(video, stages, stage_context(video, "", 0), tmp_path / "v", watch=lines.append)
    assert made.frames.shape == (57, 64, 64, 3) and made.fps == 32.0  # 4 x 4 x 2: every key is at its time
    assert made.info["prompt"] == "a red ball" and len(made.info["stages"]) == 4
    first = Video.load(tmp_path / "v.1-interpolate.mkv")
    assert np.array_equal(first.frames[::4], video.frames) and first.fps == 16  # keys pass through, losslessly
    assert lines[0].startswith("interpolate: 29 frames, 64 x 64, 16 fps")

    again: list[str] = []
    (tmp_path / "v.2-lanczos.mkv").write_bytes(b"damaged")
    second = finish(video, stages, stage_context(video, "", 0), tmp_path / "v", watch=again.append)
    assert ["taken up" in line for line in again] == [True, False, True, True]
    assert np.array_equal(second.frames, made.frames)  # read from the file of the first time
    third: list[str] = []
    finish(video, stages[:1], stage_context(video, "another prompt", 0), tmp_path / "v", watch=third.append)
    assert "taken up" not in third[0]


def test_windows_of_a_still_video_change_nothing(finishers, video):
    more, larger = finishers
    still = Video(np.repeat(video.frames[:1, :32, :32], 7, 0), 8.0, MADE)
    for stage, parts in (
        (Upscale, ({"window": 4}, {"window": 4, "overlap": 0}, {"window": 4, "tile": 12})),
        (Interpolate, ({"window": 9},)),
    ):
        model = str(larger if stage is Upscale else more)
        whole = stage(model=model, window=64)(still, StageContext()).frames.astype(int)
        for part in parts:
            if "tile" in part:  # what tiles change is the border that convolutions see
                inside = np.abs(
                    stage(model=model, **{"window": 64, **part})(still, StageContext()).frames.astype(int) - whole
                )
                assert np.percentile(inside, 90) <= 1
                continue
            assert np.abs(stage(model=model, **part)(still, StageContext()).frames.astype(int) - whole).max() <= 1


def test_spans_and_blending():
    assert list(spans(10, 4, 1)) == [(0, 4), (3, 7), (6, 10)] and list(spans(4, 4, 1)) == [(0, 4)]
    assert list(spans(9, 4, 0)) == [(0, 4), (4, 8), (8, 9)] and list(spans(8, 4, 0)) == [(0, 4), (4, 8)]
    with pytest.raises(AnimaticError, match="windows of 4 frames share 4; want 0 to 3"):
        Tiles(4, 4)
    seen = []

    def inner(x, step, cond):
        seen.append((x.shape[2:], cond.branches[0].first_frame, cond.extra["concat"].shape[2:]))
        return 2 * x

    x = torch.randn(1, 2, 10, 6, 8)
    cond = Conditioning(torch.zeros(1, 1, 1), (Branch(),), {"concat": x})
    found = Tiles(4, 2, 5, 2).denoise(inner, x, None, cond)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(found, 2 * x, atol=1e-6) and all(a == c for a, _, c in seen)
    assert {first for _, first, _ in seen} == {0, 2, 4, 6} and {shape for shape, _, _ in seen} == {(4, 5, 5)}


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.slow("two processes of its own, whose peaks are compared")
def test_memory_is_bounded_by_the_window(finishers, tmp_path):
    """Peak of 64 frames against that of 16, each in a process of its own."""
    script = (
        "import sys, numpy as np, torch\n"
        "from animatic.finishing.upscale import StageContext, Upscale\nfrom animatic.video import Video\n"
        "torch.set_num_threads(1)\nframes = np.zeros((int(sys.argv[1]), 32, 32, 3), np.uint8)\n"
        f"Upscale(model={str(finishers[1])!r}, window=4, steps=1)(Video(frames, 8.0), StageContext())\n"
        # not getrusage's, which begins with the size of the process that this one was forked from
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    peaks = [int(subprocess.check_output([sys.executable, "-c", script, n], text=True)) for n in ("16", "64")]
    assert peaks[1] < 1.1 * peaks[0]


def test_what_cannot_fit_is_said_before(finishers, video):
    stages = stages_of(f"upscale:2:model={finishers[1]}")
    shape, say = Shape(64, 512, 512, 8.0), stage_context(video, "", 0)
    free = int(0.8 * stages[0][1].memory(shape, say))
    with pytest.raises(AnimaticError, match=r"upscale to 64 .* needs about .* are free; upscale:window=\d would fit"):
        check_memory("upscale", stages[0][1], shape, say, free)
    with pytest.raises(AnimaticError, match="no setting would fit: want a smaller target"):
        finish(video, stages, stage_context(video, "", 0), memory=2**20)


@torch.no_grad()
def test_a_run_begins_where_it_is_told():
    """The solver carries clip and noise to the level exactly; below it the network is asked."""
    betas = {"beta_start": 1e-4, "beta_end": 0.02, "clip_sample": False, "timestep_spacing": "trailing"}
    clip, noise, asked = torch.randn(1, 4, 2, 4, 4), torch.randn(1, 4, 2, 4, 4), []

    class Watch(Control):
        def denoise(self, inner, x, step, cond):
            if not asked:
                level = next(s for s in schedule if s.index == step.index)
                assert torch.allclose(x, schedule.noised(clip, noise, level), atol=1e-4)
            asked.append(step.index)
            return x

    for name in ("epsilon", "v_prediction"):
        asked.clear()
        schedule = Schedule(DDIMScheduler(**betas, prediction_type=name), 10)
        model = load("mini")
        sample(
            model,
            schedule,
            noise,
            Conditioning(torch.zeros(1, 1, 1), (Branch(),)),
            [StartFromNoised(clip, 0.3), Watch()],
        )
        assert asked == [7, 8, 9]


def refiner_folder(path):
    """Stable Diffusion XL's refiner at tiny size."""
    torch.manual_seed(0)
    network = UNet2DConditionModel(
        sample_size=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8, cross_attention_dim=tiny.WIDTH, attention_head_dim=2, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=tiny.WIDTH + 5 * 8,
    )  # fmt: skip
    folder, words = tiny.folder(path, network), tiny.tokenizer()
    config = tiny.text_encoder(words).config.to_dict()
    config = CLIPTextConfig(**{**config, "num_hidden_layers": 2, "projection_dim": tiny.WIDTH})
    CLIPTextModelWithProjection(config).save_pretrained(folder / "text_encoder_2")
    words.save_pretrained(folder / "tokenizer_2")
    return folder


def test_networks_of_others_finish_too(video, tmp_path):
    """LaVie's two, the x4 upscaler, an image model, SDXL's refiner and a video model, tiny, through the same stages."""
    from test_lavie import checkpoint

    from animatic.backbones.lavie import CARDS

    short = Video(video.frames[:3, :32, :32], 8.0, MADE)
    image, x4 = tiny.folder(tmp_path / "sd", tiny.unet2d()), tiny.x4_folder(tmp_path / "x4")
    for kind, config, parts in (("lavie-interpolation", INTERPOLATION, image), ("lavie-vsr", VSR, x4)):
        checkpoint(tmp_path / "file.pt", config, kind == "lavie-vsr")
        convert_lavie(tmp_path / "file.pt", tmp_path / kind, str(parts))
        assert CARDS[kind]["defaults"] == load(str(tmp_path / kind)).defaults
    cascade = f"interpolate:3:steps=2:model={tmp_path}/lavie-interpolation,upscale:4:steps=1:model={tmp_path}/lavie-vsr"
    made = finish(short, stages_of(cascade), stage_context(short, "", 0))
    assert made.frames.shape == (7, 128, 128, 3) and made.fps == 24
    assert Interpolate(model=f"{tmp_path}/lavie-interpolation", steps=1, keep=False)(short, StageContext()).frames.any()

    large = Upscale(model=str(x4), factor=4, window=2)(short, StageContext(prompt="a ball"))
    assert large.frames.shape == (3, 128, 128, 3)
    still = Video(np.repeat(short.frames[:1], 3, 0), 8.0)
    frames = Upscale(model=str(x4), factor=4)(still, StageContext()).frames.astype(int)
    assert np.abs(frames - frames[:1]).max() <= 1  # frame by frame, but one noise for all
    with pytest.raises(AnimaticError, match="factor is 2; x4 takes powers of 4"):
        Upscale(model=str(x4), factor=2)(short, StageContext())

    refiner, film = refiner_folder(tmp_path / "xl"), tiny.folder(tmp_path / "film", tiny.unet3d())
    for folder in (image, refiner, film):
        stage = Refine(model=str(folder), strength=0.5, steps=2, guidance=2.0, width=48, height=40)
        assert stage(short, StageContext(prompt="a ball")).frames.shape == (3, 40, 48, 3)
    little, much = (
        Refine(model=str(refiner), strength=s, steps=10)(short, StageContext()).frames.astype(int) for s in (0.1, 1)
    )
    known = Refine(model=str(refiner), strength=0.01, steps=10)(short, StageContext()).frames.astype(
        int
    )  # the codec alone
    assert np.abs(little - known).mean() < np.abs(much - known).mean()
    with pytest.raises(AnimaticError, match="x4 cannot refine; want a model of video or of pictures"):
        Refine(model=str(x4))(short, StageContext())


def test_recursion_goes_on_from_the_last_frames(video):
    made = finish(video, stages_of("extend:2:steps=2:window=4:known=1"), stage_context(video, "", 0))
    assert len(made) == 8 + 2 * 3 and made.fps == 4 and np.array_equal(made.frames[:8], video.frames)


def test_the_bundled_ones_do_better_than_arithmetic():
    """Two things that move: against the true frames in between, and against the truth at twice the size."""
    box = Track("red ball", ((0.0, 0.25, 0.5, 0.75), (0.125, 0.25, 0.625, 0.75), (0.25, 0.25, 0.75, 0.75)))
    other = Track("blue car", ((0.5, 0.5, 1.0, 1.0), (0.5, 0.375, 1.0, 0.875), (0.5, 0.25, 1.0, 0.75)))

    def error(found, truth):
        return ((found.astype(float) - truth) ** 2).mean()

    for thing, place in ((box, "grass"), (other, "sea")):
        scene = Scene("a thing", (thing,), place)
        truth = toyworld.draw(scene, 9)[0]
        keys = Video(truth[::4], 4.0, MADE)
        made, linear = (finish(keys, stages_of(how), stage_context(keys, "", 0)) for how in ("motion:4", "blend:4"))
        assert 2 * error(made.frames, truth) < error(linear.frames, truth)  # 3 dB

        large = toyworld.draw(scene, 3, 128)[0]
        shrunk = large.reshape(3, 64, 2, 64, 2, 3).mean((2, 4))
        small = Video(np.floor(shrunk + 0.5).astype(np.uint8), 4.0, MADE)
        made = finish(small, stages_of("upscale:2"), stage_context(small, "", 0)).frames
        cubic = np.stack([np.asarray(Image.fromarray(f).resize((128, 128), 3)) for f in small.frames])
        assert 1.05 * error(made, large) < error(cubic, large)
        flicker = [np.abs(np.diff(f.astype(float) - large, axis=0)).mean() for f in (made, cubic)]
        assert flicker[0] < flicker[1]


def test_a_new_interpolation_network_makes_its_prior(video, tmp_path, capsys):
    """Frames of the stage `motion`, and in the evaluation its figures; with another last layer the residual is seen."""
    new = tiny.interpolation(tmp_path / "new", residual=0.0)
    other = tiny.interpolation(tmp_path / "other")
    say = stage_context(video, "", 0)
    prior, made, changed = (
        finish(video, stages_of(then), say).frames
        for then in ("motion:4", f"interpolate:4:model={new}", f"interpolate:4:model={other}")
    )
    assert close_frames(made, prior) and not close_frames(changed, prior)
    assert np.array_equal(changed[::4], video.frames)

    finishing.main(n=1, seed=1, tables="interpolate", model=str(new))
    rows = {row["what"]: row["psnr"] for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(rows) == ["linear", "motion", str(new)]
    assert rows[str(new)] == pytest.approx(rows["motion"], abs=0.1)


def test_motion_is_followed():
    """A square that moves 8 pixels, a quarter of the way."""
    images = torch.full((2, 3, 64, 64), -1.0)
    images[0, :, 20:36, 16:32], images[1, :, 20:36, 24:40] = 1, 1
    wanted = torch.full((3, 64, 64), -1.0)
    wanted[:, 20:36, 18:34] = 1
    found = frame_between(images[:1], images[1:], 1, 4)[0]
    blended = torch.lerp(images[0], images[1], 0.25)
    assert (found - wanted).square().mean() < 0.2 * (blended - wanted).square().mean()


def test_colours_that_drift_are_said(video):
    brighter = Video(np.minimum(video.frames.astype(int) + 20, 255).astype(np.uint8), 4.0)
    assert drift(video, video) == 0 and 10 < drift(video, brighter) <= 20


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("sharpen", "unknown stage 'sharpen'; known: interpolate, upscale"),
        ("upscale:2:colour=red", "unknown option 'colour'; upscale takes model, steps"),
        ("interpolate:many", "interpolate:many: factor is 'many'; want a whole number"),
        ("interpolate:4:keep=perhaps", "keep is 'perhaps'; want yes or no"),
        ("interpolate:1", "interpolate: factor is 1; want 2 or more frames for each one"),
        ("lanczos:0.001", "factor is 0.001; nothing would be left of 64 x 64"),
        ("refine:2", "strength is 2.0; want more than 0, 1 at most"),
        ("extend:0", "clips is 0, known is 1; want 1 clip or more"),
    ],
)
def test_bad_stages(then, message, video):
    with pytest.raises(AnimaticError, match=message):
        planned_shapes(Shape.of(video), stages_of(then))


def test_a_video_of_nobody_wants_a_model(video, tmp_path):
    with pytest.raises(AnimaticError, match="no model of its own for a video whose maker is unknown; want upscale:mod"):
        finish(Video(video.frames, 4.0), stages_of("upscale:2"), StageContext())
    then = f"interpolate:4:model={tiny.interpolation(tmp_path / 'more')}"
    with pytest.raises(AnimaticError, match="interpolate: 1 frame has nothing between"):
        finish(Video(video.frames[:1], 4.0, MADE), stages_of(then), stage_context(video, "", 0))


def test_a_video_of_mini_has_no_network_for_frames_between(video):
    """In one line, before any work, with what would be right; a video of LaVie has LaVie's."""
    with pytest.raises(AnimaticError) as error:
        finish(video, stages_of("interpolate:3"), stage_context(video, "", 0))
    assert str(error.value) == (
        "no model of its own for a video made by 'mini'; want motion:3 without a network, "
        "interpolate:model=lavie-interpolation, or interpolate:model=FOLDER of animatic train --learn interpolate:3"
    )
    assert Interpolate().resolved("lavie").model == "lavie-interpolation"


def written(path, frames, codec="libx264", pix_fmt="yuv420p", times=None, rate=8, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[-1] == 4 else "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_files_of_all_kinds(video, tmp_path):
    """Ten bits, alpha, an odd size, one frame, an uneven beat, a broken tail: what decodes is used, and it is said."""
    # every pixel has colours of its own: halved ones would hide what ten bits lose
    ten = Video.load(written(tmp_path / "ten.mkv", video.frames, pix_fmt="yuv444p10le", crf="1"))
    assert ten.frames.dtype == np.uint8 and np.abs(ten.frames.astype(int) - video.frames).mean() < 1
    clear = np.concatenate([video.frames, np.full((8, 64, 64, 1), 255, np.uint8)], -1)
    assert Video.load(written(tmp_path / "alpha.mkv", clear, "ffv1", "bgra")).frames.shape == (8, 64, 64, 3)
    odd = Video(video.frames[:, :63, :61], 8.0)
    assert finish(odd, stages_of("lanczos:2"), StageContext()).frames.shape == (8, 126, 122, 3)
    uneven = Video.load(written(tmp_path / "uneven.mkv", video.frames[:4], times=[0, 1, 4, 5], rate=8))
    assert len(uneven) >= 3 and uneven.frames.shape[1:] == (64, 64, 3)

    whole = written(tmp_path / "whole.mkv", np.repeat(video.frames, 4, 0), "ffv1", "bgr0")
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    found = Video.load(broken)
    assert 5 < len(found) < 32 and found.info.get("damage", "").startswith(f"{broken}: {len(found)} of")


def test_from_the_command_line(here, finishers, video, tmp_path):
    more, larger = finishers
    file = video.save(tmp_path / "a dog.mp4", scale=1)
    then = f"interpolate:4:model={more},upscale:2:model={larger}"
    code, told, _ = here("finish", str(file), "--then", then, "--json")
    made = json.loads(told)
    assert code == 0 and made["frames"] == 29 and made["fps"] == 16 and made["size"] == [128, 128]
    with av.open(made["video"]) as container:
        stream = container.streams.video[0]
        assert stream.frames == 29 and stream.average_rate == 16
        assert float(stream.duration * stream.time_base) == pytest.approx(29 / 16)
    assert Video.load(made["video"]).info["prompt"] == "a red ball"  # never the file's name
    code, _, error = here("finish", str(file), "--then", "upscale:2", "--memory", "lots")
    assert code == 2 and error == "error: memory is 'lots'; want a number and GB or MB, such as 8GB\n"
    code, _, error = here("make", "a bear", "--then", "nothing:2")
    assert code == 2 and error.startswith("error: unknown stage 'nothing'")


def test_the_bundled_finishers_are_worth_it(capsys):
    """On toy scenes they never saw: upscaling beats bicubic by 1 dB and more, and `motion` a blend by 3."""
    finishing.main(n=6, seed=1)
    rows = {row["what"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["mini-upscale"]["psnr"] > rows["bicubic"]["psnr"] + 1
    assert rows["mini-upscale"]["flicker"] <= rows["bicubic"]["flicker"]
    assert rows["motion"]["mean of psnr"] > rows["linear"]["mean of psnr"] + 3


def test_pieces_make_the_whole():
    frames = np.random.default_rng(0).integers(0, 256, (11, 2, 3, 3), np.uint8)
    seen = []

    def progress(done, count):
        seen.append((done, count))

    def same(piece, progress):
        return piece

    def twice(piece, progress):
        progress(1, 1)
        return np.repeat(piece, 2, 0)[:-1]

    for size, shared in ((4, 0), (4, 2), (11, 1), (20, 3)):
        assert (process_in_pieces(frames, size, shared, same, progress) == frames).all()
    assert (process_in_pieces(frames, 5, 1, twice, progress, factor=2) == np.repeat(frames, 2, 0)[:-1]).all()
    assert seen == [(1, 3), (2, 3), (3, 3)]
    halves = iter((np.zeros((6, 1, 1, 3), np.uint8), np.full((6, 1, 1, 3), 100, np.uint8)))
    faded = process_in_pieces(frames[:10], 6, 2, lambda piece, progress: next(halves), progress)
    assert faded[:, 0, 0, 0].tolist() == [0] * 4 + [33, 67] + [100] * 4
