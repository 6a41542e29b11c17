"""What a run has learned from: a file that changed is refused on a resume, and cached latents go by content."""

import errno
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animatic.errors import AnimaticError
from animatic.training import sources
from animatic.training.data_contents import DataContents
from animatic.training.fit import DiffusionTrainer, fit
from animatic.training.latent_cache import LatentCache
from animatic.training.settings import TrainingSettings
from animatic.training.sources import items_of
from animatic.video import Video

SMALL = TrainingSettings(
    data="toy", text="none", frames=3, size="16", dim=8, multiples="1,2", batch_size=1, steps=1, warmup_steps=1,
    save_every=1, sample_every=0, fps=8.0,
)  # fmt: skip


def clip(path: Path, seed: int) -> Path:
    """A gif of noise: as long, and as large in pixels, for every seed."""
    frames = np.random.default_rng(seed).integers(0, 256, (3, 16, 16, 3), np.uint8)
    Video(frames, 8.0).save(path, scale=1)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    for seed in range(3):
        clip(tmp_path / "d" / f"{seed}.gif", seed)
    return tmp_path / "d"


def test_a_changed_file_is_refused_by_name(folder, tmp_path):
    settings = replace(SMALL, data=str(folder), out=str(tmp_path / "o"))
    fit(settings)
    clip(folder / "1.gif", 7)
    with pytest.raises(
        AnimaticError, match=r"1\.gif: has changed since .*o began; want the file as it was, or another"
    ):
        fit(replace(settings, steps=2))
    clip(folder / "2.gif", 8)
    with pytest.raises(AnimaticError, match=r"1\.gif: has changed \(as 1 more\)"):
        fit(replace(settings, steps=2))

    # As it was, with another time; one that is gone and comes back.
    clip(folder / "1.gif", 1)
    clip(folder / "2.gif", 2)
    os.utime(folder / "1.gif", (0, 0))
    (folder / "0.gif").rename(tmp_path / "0.gif")
    notes: list[str] = []
    fit(replace(settings, steps=2), note=notes.append)
    assert [note for note in notes if "1 clip gone" in note]
    clip(folder / "0.gif", 9)
    with pytest.raises(AnimaticError, match=r"0\.gif: has changed"):
        fit(replace(settings, steps=3))
    shutil.move(tmp_path / "0.gif", folder / "0.gif")
    fit(replace(settings, steps=3))

    # A link whose file is gone is passed over, as a file that cannot be read.
    (folder / "3.gif").symlink_to(tmp_path / "nowhere.gif")
    notes.clear()
    fit(replace(settings, steps=12), note=notes.append)
    assert any("3.gif" in note and "skipped" in note for note in notes), notes
    (folder / "3.gif").unlink()

    # Before the first checkpoint nothing was learned from any file.
    clip(folder / "1.gif", 7)
    fit(replace(settings, out=str(tmp_path / "other")))


def test_a_file_that_cannot_be_read_any_more(folder, tmp_path, monkeypatch):
    settings = replace(SMALL, data=str(folder), out=str(tmp_path / "o"))
    fit(settings)

    # root may read every file: so the disk fails
    def failing(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(sources, "digest_of", failing)
    os.utime(folder / "1.gif", (0, 0))
    with pytest.raises(AnimaticError, match=r"1\.gif: cannot be read since"):
        fit(replace(settings, steps=2))


def test_a_changed_member_of_a_shard_is_refused(folder, tmp_path):
    """The sizes and times within the archive are the same: its own time gives it away."""

    def pack() -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for name in ("0.gif", "1.gif"):
                member = tar.gettarinfo(folder / name, name)
                member.mtime = 0
                with (folder / name).open("rb") as stream:
                    tar.addfile(member, stream)

    pack()
    settings = replace(SMALL, data=str(tmp_path / "a.tar"), out=str(tmp_path / "o"))
    fit(settings)
    data = bytearray((folder / "1.gif").read_bytes())
    data[-2] ^= 1
    (folder / "1.gif").write_bytes(data)
    pack()
    with pytest.raises(AnimaticError, match=r"a\.tar:1\.gif: has changed"):
        fit(replace(settings, steps=2))


def test_a_file_is_read_once(folder, tmp_path, monkeypatch):
    contents = DataContents(tmp_path)
    first = contents.of(items_of(str(folder)))
    contents.save()
    assert len({item.content for item in first}) == 3

    read: list[str] = []
    items = [replace(item, digest=lambda name=item.name: read.append(name) or "new") for item in items_of(str(folder))]
    assert [item.content for item in DataContents(tmp_path).of(items)] == [item.content for item in first]
    assert not read

    # Anything else in its place is no record of contents.
    for text in ("[]", '{"a": 1}', '{"a": ["1"]}', "nothing"):
        (tmp_path / "files.json").write_text(text)
        with pytest.raises(AnimaticError, match=r"files\.json"):
            DataContents(tmp_path)


def test_cached_latents_go_by_content(folder, tmp_path):
    settings = replace(SMALL, data=str(folder), cache=True, out=str(tmp_path / "o"))
    trainer = DiffusionTrainer(settings)
    for position in range(3):
        trainer.clips[position]
    cached = list((tmp_path / "o" / "cache").iterdir())
    assert len(cached) == 3

    # Moved, copied and touched: nothing is encoded again.
    (folder / "0.gif").rename(folder / "moved.gif")
    shutil.copy(folder / "1.gif", folder / "copy.gif")
    os.utime(folder / "2.gif", (0, 0))
    trainer = DiffusionTrainer(settings)
    latents = [trainer.clips[position].frames for position in range(4)]
    assert sorted((tmp_path / "o" / "cache").iterdir()) == sorted(cached)

    # Another content at the same time and of the same size, in a run that has not begun.
    state = (folder / "2.gif").stat()
    clip(folder / "2.gif", 9)
    os.utime(folder / "2.gif", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    trainer = DiffusionTrainer(settings)
    replaced = [trainer.clips[position].frames for position in range(4)]
    assert sum(not any(x.equal(y) for y in latents) for x in replaced) == 1


def test_another_codec_has_other_latents(folder, tmp_path):
    """Of the same configuration: its weights are part of the key."""
    model = DiffusionTrainer(replace(SMALL, data=str(folder), out=str(tmp_path / "o"))).model
    before = LatentCache(tmp_path, model).codec
    assert LatentCache(tmp_path, model).codec == before
    weights = list(model.vae.parameters())
    assert weights
    weights[0].data[..., 0] += 1
    assert LatentCache(tmp_path, model).codec != before


def test_what_changes_while_it_is_read_is_not_cached(folder, tmp_path):
    trainer = DiffusionTrainer(replace(SMALL, data=str(folder), cache=True, out=str(tmp_path / "o")))
    for seed in range(3):
        clip(folder / f"{seed}.gif", seed + 10)
    assert trainer.clips[0].frames.shape[0] == 3
    assert not (tmp_path / "o" / "cache").exists()


def test_items_of_every_kind_have_a_digest(folder, tmp_path):
    for source in (str(folder), "toy"):
        items = items_of(source)
        assert items[0].digest() == items_of(source)[0].digest() != items[1].digest()
