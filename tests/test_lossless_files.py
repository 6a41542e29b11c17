"""Videos of which nothing is lost: `.npz` and `.mkv` hold every level of every pixel, and the request as others do."""

import json
from pathlib import Path

import numpy as np
import pytest

from animatic.errors import AnimaticError
from animatic.media.reading import probe
from animatic.video import Video, read_info

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 24, 40, 3), np.uint8)
INFO = {"prompt": "un ours à vélo", "seed": 7}


@pytest.mark.parametrize("suffix", [".npz", ".mkv"])
def test_every_pixel_comes_back_at_the_size_it_was_made_in(suffix, tmp_path):
    file = Video(FRAMES, 7.5, INFO).save(tmp_path / f"noise{suffix}")
    video, found = Video.load(file), probe(file)
    assert np.array_equal(video.frames, FRAMES) and video.fps == 7.5 and video.info == INFO == read_info(file)
    assert (found.frames, found.height, found.width, found.fps) == (3, 24, 40, 7.5)


def test_an_npz_is_known_by_what_it_holds(tmp_path):
    """Of another maker: any name, one array, in Fortran's order, and no rate."""
    np.savez(tmp_path / "theirs.npz", np.asfortranarray(FRAMES))
    video = Video.load((tmp_path / "theirs.npz").rename(tmp_path / "theirs.bin"))
    assert np.array_equal(video.frames, FRAMES) and (video.fps, video.info) == (8.0, {})
    assert video.frames.flags.c_contiguous


def _cut(path: Path) -> None:
    np.savez(path, frames=FRAMES)
    path.write_bytes(path.read_bytes()[:5000])


BAD = {
    "floats": (lambda path: np.savez(path, frames=FRAMES / 255), r"frames are float64 \[3, 24, 40, 3\]; want uint8"),
    "grey": (lambda path: np.savez(path, frames=FRAMES[..., 0]), r"frames are uint8 \[3, 24, 40\]; want uint8"),
    "two": (lambda path: np.savez(path, a=FRAMES, b=FRAMES), "holds 2 arrays; want one called frames"),
    "rate": (lambda path: np.savez(path, frames=FRAMES, fps=np.nan), "fps is nan; want one number above 0"),
    "rates": (lambda path: np.savez(path, frames=FRAMES, fps=[8.0, 8.0]), r"fps is \[8. 8.\]; want one number"),
    "objects": (lambda path: np.savez(path, frames=FRAMES, info={"a": 1}), "cannot be read as npz .*allow_pickle"),
    "cut": (_cut, "cannot be read as npz"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_video_is_one_line(name, tmp_path):
    write, message = BAD[name]
    write(tmp_path / "bad.npz")
    with pytest.raises(AnimaticError, match=message):
        Video.load(tmp_path / "bad.npz")


def test_an_npz_too_large_is_refused_before_it_is_decompressed(tmp_path):
    np.savez_compressed(tmp_path / "large.npz", frames=np.zeros((50, 100, 100, 3), np.uint8))
    with pytest.raises(AnimaticError, match="50 frames of 100 x 100 need 1"):
        Video.load(tmp_path / "large.npz", most=10**6)


def test_a_render_is_kept_without_loss_and_gone_on_with(here):
    code, out, err = here("make", "a red ball", "--steps", "2", "--frames", "2", "--format", "npz,mkv,mp4", "--json")
    assert code == 0, err
    npz, mkv, mp4 = json.loads(out)["videos"]
    made = Video.load(npz)
    assert made.frames.shape == (2, 64, 64, 3) and np.array_equal(made.frames, Video.load(mkv).frames)
    assert read_info(npz) == read_info(mkv) == read_info(mp4)

    code, out, err = here("info", npz)
    assert code == 0 and json.loads(out) == json.loads(json.dumps(made.info)), err
    code, out, err = here("finish", npz, "--then", "blend:2", "--format", "npz", "--json")
    assert code == 0, err
    finished = Video.load(json.loads(out)["video"])
    assert len(finished) == 3 and np.array_equal(finished.frames[::2], made.frames)
    code, out, err = here("edit", npz, "--swap", "ball=cat")
    assert code == 0 and len(Video.load(out.split()[0])) == 2, err


def test_a_lossless_result_of_stages_has_its_name_again(here):
    """NAME.mkv is of the stages, too; only NAME.0-render.mkv has not been through them."""
    quick = ("--steps", "1", "--frames", "2", "--method", "none", "--format", "mkv", "--then", "blend:2", "--json")
    names = [json.loads(here("make", "a red ball", *quick)[1])["videos"] for _ in range(2)]
    assert names == [["out/a-red-ball.mkv"]] * 2


def test_a_run_keeps_its_videos_without_loss(here):
    told = ("--limit", "2", "--steps", "1", "--frames", "2", "--threads", "1", "--out", "run")
    assert here("bench", "generate", "lvd", *told, "--format", "npz")[0] == 0
    made = sorted(Path("run/made").glob("*.npz"))
    assert len(made) == 2 and Video.load(made[0]).frames.shape == (2, 64, 64, 3)
    assert read_info(made[0])["request"]["sampling"]["steps"] == 1
    assert here("bench", "score", "run", "--workers", "1")[0] == 0
    code, _, err = here("bench", "generate", "lvd", *told)
    assert code == 2 and "format was 'npz', now ''" in err
    code, _, err = here("bench", "generate", "lvd", "--out", "other", "--format", "joblib")
    assert (
        code == 2 and "unknown format 'joblib'; known: mp4, gif, webp, png; mkv" in err and not Path("other").exists()
    )
