"""Clips to learn from: every habit of folders, frames by rule, bad files named and passed over."""

import io
import json
import random
import tarfile

import numpy as np
import pytest

from animatic.errors import AnimaticError
from animatic.files import digest_of
from animatic.training.clips import Clips, Cut, Positions
from animatic.training.conditioning import with_text_mode, without_captions
from animatic.training.sources import items_of
from animatic.video import Video


def clip(count: int = 6, height: int = 16, width: int = 20, start: int = 0) -> Video:
    """Every frame of one grey, brighter by 10 a frame."""
    grey = np.arange(start, start + count, dtype=np.uint8)[:, None, None, None] * 10
    return Video(np.broadcast_to(grey, (count, height, width, 3)).copy(), 8.0)


def shades(frames: np.ndarray) -> list[int]:
    return [round(float(f.mean()) / 10) for f in frames]


@pytest.fixture
def folder(tmp_path):
    for i, kind in enumerate(("gif", "mp4", "webp", "png")):
        clip(start=i).save(tmp_path / f"sub{i % 2}" / f"{i}.{kind}", scale=1)
        (tmp_path / f"sub{i % 2}" / f"{i}.txt").write_text(f"clip {i}\n")
    return tmp_path


def test_a_folder_with_captions_beside_the_files(folder):
    items = items_of(str(folder))
    assert sorted(item.caption or "" for item in items) == [f"clip {i}" for i in range(4)]
    for item in items:
        video = item.read()
        assert len(video) == 6
        assert video.frames.shape[1:] == (16, 20, 3)
    assert with_text_mode("auto", items, print) == ("own", items)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_captions_of_imagefolder(folder, kind):
    for file in folder.rglob("*.txt"):
        file.unlink()
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    rows = [{"file_name": str(p.relative_to(folder)), "text": f"told, {i}"} for i, p in enumerate(files)]
    if kind == "csv":
        (folder / "metadata.csv").write_text(
            "file_name,text\n" + "".join(f'{r["file_name"]},"{r["text"]}"\n' for r in rows)
        )
    else:
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert [item.caption for item in items_of(str(folder))] == [f"told, {i}" for i in range(4)]


def test_shards(folder, tmp_path):
    shard = tmp_path / "shards" / "a.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as tar:
        for file in sorted(folder.glob("sub*/*")):
            tar.add(file, file.name)
        data = json.dumps({"caption": "from json"}).encode()
        info = tarfile.TarInfo("9.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        tar.add(folder / "sub0" / "0.gif", "9.gif")
    items = items_of(str(shard.parent))
    assert {item.caption for item in items} == {*(f"clip {i}" for i in range(4)), "from json"}
    assert shades(items[0].read().frames) == shades(items_of(str(shard))[0].read().frames)


def test_a_hub_data_set_by_name(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the package datasets is optional")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for i in range(2):
        clip(start=5 * i).save(tmp_path / "d" / f"{i}.mp4", scale=1)
    lines = [json.dumps({"file_name": f"{i}.mp4", "text": f"clip {i}"}) for i in range(2)]
    (tmp_path / "d" / "metadata.jsonl").write_text("\n".join(lines))
    items = items_of(f"hf:{tmp_path / 'd'}")
    assert [item.caption for item in items] == ["clip 0", "clip 1"]
    assert [shades(item.read().frames)[0] for item in items] == [0, 5]
    assert [item.digest() for item in items] == [digest_of(tmp_path / "d" / f"{i}.mp4") for i in range(2)]

    # Folders are classes, as the package reads them; a caption that is no text is named with its row.
    for i, kind in enumerate(("cat", "dog")):
        clip(start=5 * i).save(tmp_path / "c" / kind / f"{i}.mp4", scale=1)
    assert [item.label for item in items_of(f"hf:{tmp_path / 'c'}")] == ["cat", "dog"]
    (tmp_path / "d" / "metadata.jsonl").write_text(lines[0].replace('"clip 0"', '["a", "b"]'))
    with pytest.raises(AnimaticError, match=r"d\[0\]: its text is .*, not a sentence"):
        items_of(f"hf:{tmp_path / 'd'}")
    with pytest.raises(AnimaticError, match="hf:nobody/nothing cannot be had"):
        items_of("hf:nobody/nothing")


@pytest.mark.parametrize(
    ("short", "wanted"),
    [("loop", [0, 1, 2, 0, 1, 2, 0]), ("hold", [0, 1, 2, 2, 2, 2, 2]), ("bounce", [0, 1, 2, 1, 0, 1, 2])],
)
def test_short_clips_go_by_rule(short, wanted):
    cut = Cut(7, 20, 16, short=short)
    assert shades(cut(clip(3), random.Random(0))) == wanted
    assert shades(cut(clip(1, start=5), random.Random(0))) == [5] * 7  # a gif that stands still is stored as one frame


def test_windows_rates_and_crops():
    rng = random.Random(0)
    cut = Cut(3, 20, 16)
    starts = {shades(cut(clip(6), rng))[0] for _ in range(60)}
    assert starts == {0, 1, 2, 3}
    assert shades(Cut(3, 20, 16, fps=4.0)(clip(5), rng)) == [0, 2, 4]
    assert shades(Cut(6, 20, 16, fps=16.0)(clip(3), rng)) == [0, 0, 1, 1, 2, 2]
    assert Cut(2, 8, 8)(clip(), rng).shape == (2, 8, 8, 3)
    assert Cut(2, 64, 40)(clip(), rng).shape == (2, 40, 64, 3)
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8)[None, None, :, None], (4, 16, 20, 3)).copy()
    assert (Cut(1, 16, 16, steady=True)(Video(ramp), rng)[0, 0, :, 0] == np.arange(2, 18)).all()
    pieces = {int(Cut(1, 4, 4, crop=True)(Video(ramp), rng)[0, 0, 0, 0]) for _ in range(40)}
    assert len(pieces) > 8 and max(pieces) > 12  # at its own scale, from anywhere
    mirrored = {bool(Cut(1, 20, 16, flip=True)(Video(ramp), rng)[0, 0, 0, 0]) for _ in range(20)}
    assert mirrored == {False, True}


def test_a_bad_file_is_named_and_passed_over(folder):
    (folder / "bad.gif").write_bytes(b"GIF89a broken")
    (folder / "empty.mp4").write_bytes(b"")
    clips = Clips(items_of(str(folder)), Cut(4, 16, 16))
    assert len(clips.clips) == 5  # the .png is a picture
    samples = [clips[i] for i in range(5)]
    said = {c for s in samples for c in s.skipped}
    assert len(said) == 2 and any("bad.gif" in c for c in said) and any("empty.mp4" in c for c in said)
    assert all(s.frames.shape == (4, 16, 16, 3) for s in samples)


def test_every_clip_once_a_round_and_the_same_again(folder):
    clips = Clips(items_of(str(folder)), Cut(4, 16, 16), images=2, seed=3)
    for start in (0, 3):
        assert len({clips[start + i].names[0] for i in range(3)}) == 3
    first, again = clips[7], clips[7]
    assert first.frames.equal(again.frames) and first.seed == again.seed  # pixels, decoded twice
    assert first.frames.shape == (6, 16, 16, 3) and len(first.captions) == 3
    assert first.names[1].endswith("3.png") and first.captions[1] == "clip 3"  # pictures come from picture files


def test_processes_share_the_positions_of_one():
    def some(rank: int, world: int, batch: int, count: int, first: int = 4) -> list[int]:
        return [p for p, _ in zip(Positions(first, batch, rank, world), range(count), strict=False)]

    two = [some(r, 2, 2, 4) for r in range(2)]
    assert sorted(two[0][:2] + two[1][:2]) == some(0, 1, 4, 4)
    assert sorted(two[0][2:] + two[1][2:]) == [8, 9, 10, 11]


def test_toy_world():
    items = items_of("toy", 4)
    video = items[7].read()
    assert video.frames.shape == (4, 64, 64, 3) and items[7].caption == items_of("toy", 4)[7].caption
    assert with_text_mode("auto", items, print) == ("own", items)
    silent = without_captions(items)[7]
    assert silent.caption == "" and (silent.read().frames == video.frames).all()


def test_bad_sources_are_named(tmp_path, folder):
    empty = tmp_path / "nothing"
    empty.mkdir()
    for source, words in (
        (str(empty), "no clips or pictures in it; want .mp4"),
        (str(tmp_path / "nowhere"), "no such folder or file"),
    ):
        with pytest.raises(AnimaticError, match=words):
            items_of(source)
    (empty / "a.gif").write_bytes(b"no gif")
    with pytest.raises(AnimaticError, match=r"none of 1 file can be used; the first: .*a\.gif"):
        Clips(items_of(str(empty)), Cut())[0]
    (empty / "a.gif").unlink()
    (folder / "sub0" / "0.txt").unlink()
    with pytest.raises(AnimaticError, match=r"0\.gif: 1 of 4 have no caption"):
        with_text_mode("auto", items_of(str(folder)), print)
    with pytest.raises(AnimaticError, match="2 frames, 5 are needed; left out"):
        Cut(5, 8, 8, short="skip")(clip(2), random.Random(0))
    with pytest.raises(AnimaticError, match="short is 'pad'; want one of loop"):
        Cut(short="pad")
    (folder / "metadata.csv").write_text("who,what\na,b\n")
    with pytest.raises(AnimaticError, match="columns are who, what; want file_name and text"):
        items_of(str(folder))
    (folder / "broken.tar").write_bytes(b"x" * 600)
    with pytest.raises(AnimaticError, match=r"broken\.tar: cannot be read as an uncompressed tar file"):
        items_of(str(folder / "broken.tar"))
