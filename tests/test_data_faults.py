"""What users' folders look like: captions are found or their lack is said, and nothing is dropped without a word."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animatic.backbones.small_model import Labels
from animatic.cli import main
from animatic.errors import AnimaticError, counted, listed
from animatic.training.conditioning import with_text_mode
from animatic.training.fit import DiffusionTrainer, fit
from animatic.training.settings import TrainingSettings
from animatic.training.sources import items_of
from animatic.video import Video

FAULTS = Path(__file__).parent / "faults"
CLIP = FAULTS / "clip.mp4"
PAIR = ("1.mp4", "2.mp4")
MEDIA = {  # of each folder of faults/data, all of them this one clip
    "d_first": ("a.mp4", "b.mp4", "c.mp4"),
    "d_cap": ("1.mp4", "2.mp4", "3.mp4"),
    "d_nest3": ("cat/1.mp4", "cat/.hidden.gif", ".trash/b.gif", "__MACOSX/._1.mp4"),
}
TINY = "--dim 8 --multiples 1,2 --frames 4 --size 16 --steps 2 --batch-size 2".split()
SMALL = TrainingSettings(
    data="?", dim=8, multiples="1,2", frames=2, size="16", steps=1, batch_size=2, warmup_steps=1, save_every=1,
    sample_every=0, fps=8,
)  # fmt: skip


def fill(folder: Path, *names: str, **texts: str) -> Path:
    """`folder` with copies of the clip, and texts under names in which _ stands for a dot."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLIP, file)
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text, "utf-8")
    return folder


def dry_run(capsys, folder: Path, *more: str) -> tuple[int, dict, str]:
    """(exit code, JSON, error) of `animatic train --dry-run`."""
    with pytest.raises(SystemExit) as end:
        main(["train", "--data", str(folder), "--out", "never", *TINY, *more, "--dry-run", "--json"])
    out, error = capsys.readouterr()
    assert out.count("\n") + error.count("\n") == 1, "one line and nothing else"
    return int(end.value.code or 0), json.loads(out or "{}"), error


def found(folder: Path, text: str = "auto") -> tuple[dict[str, str | None], list[str]]:
    """Captions by path within the folder, and notes."""
    notes: list[str] = []
    _, items = with_text_mode(text, items_of(str(folder), note=notes.append), notes.append)
    return {item.name.removeprefix(str(folder)).lstrip("/:"): item.caption for item in items}, notes


@pytest.mark.parametrize(
    ("name", "captions"),
    [
        ("d_dot", ["a cat", "a dog"]),
        ("d_noext", ["a cat", "a dog"]),
        ("d_cog", ["a cat", "a dog"]),
        ("d_bomcsv", ["a cat, running", "a dog"]),
        ("d_thumb", ["a cat", "a dog"]),
        ("d_nest3", ["cat", "cat"]),
    ],
)
def test_inputs_that_are_right(name, captions, tmp_path, capsys):
    shutil.copytree(FAULTS / "data" / name, tmp_path / name)
    code, said, error = dry_run(capsys, fill(tmp_path / name, *MEDIA.get(name, PAIR)))
    assert (code, error, said["text"]) == (0, "", "own")
    assert sorted(said["first captions"]) == captions
    assert said["clips"] == len(set(captions)) and said["skipped"] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "d_first",
            "a.mp4: 1 of 3 have no caption; want NAME.txt next to it, metadata.csv or .jsonl, or --text none",
        ),
        ("d_cap", "2.txt: byte 8 is no UTF-8; want a text saved as UTF-8"),
        ("d_short", "metadata.csv: line 2 has no text; want 2 columns"),
        ("d_jsonl", "metadata.jsonl: line 1: its text is \"['a cat', 'one cat']\", not a sentence; want one caption"),
        ("d_jsonl2", "metadata.jsonl: is a JSON array; want one object a line, or the name metadata.json"),
    ],
)
def test_inputs_that_are_refused(name, words, tmp_path, capsys):
    shutil.copytree(FAULTS / "data" / name, tmp_path / name)
    code, _, error = dry_run(capsys, fill(tmp_path / name, *MEDIA.get(name, PAIR)))
    assert code == 2 and f"{name}/{words}" in error


def test_without_text_nothing_of_it_is_read(tmp_path, capsys):
    folder = fill(tmp_path / "d", "1.mp4", metadata_csv="who,what\n")
    (folder / "1.txt").write_bytes(b"\xff\xfe")
    code, said, _ = dry_run(capsys, folder, "--text", "none")
    assert code == 0 and said["text"] == "none" and said["first captions"] == ["", ""]


def test_no_captions_are_said_once(tmp_path, capsys):
    _, said, _ = dry_run(capsys, fill(tmp_path / "d", "1.mp4", "sub/2.mp4"))
    assert said["text"] == "none" and said["notes"].count("text: none (no captions found)") == 1
    _, said, _ = dry_run(capsys, fill(tmp_path / "e", "run/1.mp4", "jump/2.mp4"))
    assert "text: none (no captions found); --text labels takes the names of its 2 folders for classes" in said["notes"]


@pytest.mark.parametrize(
    "name",
    [
        "1.mp4",
        "./1.mp4",
        "a/../1.mp4",
        "1",
        "1.MP4",
        "1.avi",
        "C:\\data\\1.mp4",
        ".\\1.mp4",
        "/data/set/1.mp4",
        "set/1",
    ],
)
def test_names_in_tables(name, tmp_path):
    rows = [{"file_name": name, "text": "one"}, {"file_name": "videos/Ä 2.mp4", "text": "two"}]
    folder = fill(tmp_path / "d", "1.mp4", unicodedata.normalize("NFD", "videos/Ä 2.mp4"))
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    assert list(found(folder)[0].values()) == ["one", "two"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("csv", "file_name;text\n1.mp4;a cat, a dog\n2.mp4;two\n"),
        ("csv", "Path\tCaption\r\n1.mp4\ta cat, a dog\r\n\r\n2\ttwo\r\n"),
        ("csv", 'id,text,video\n7,"a cat, a dog",1.mp4\n8,two,2.mp4\n,,\n'),
        ("json", '[{"video": "1.mp4", "prompt": "a cat, a dog"}, {"video": "2.mp4", "prompt": "two"}]'),
        ("jsonl", '\ufeff{"file_name": "1.mp4", "text": "a cat, a dog"}\n\n{"file_name": "2.mp4", "text": "two"}\n'),
    ],
)
def test_kinds_of_tables(kind, text, tmp_path):
    folder = fill(tmp_path / "d", *PAIR, **{f"metadata_{kind}": text})
    assert found(folder)[0] == {"1.mp4": "a cat, a dog", "2.mp4": "two"}


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (
            "csv",
            "file_name,text\na.mp4,x\nb.mp4,y\n",
            "metadata.csv: none of 2 rows names a file that is there; the fir",
        ),
        ("csv", "file_name,text\n", "metadata.csv: none of 0 rows names a file"),
        ("csv", "", "metadata.csv: is empty; want a first line of file_name,text"),
        (
            "csv",
            "1.mp4,a cat\n",
            "metadata.csv: line 1 is '1.mp4, a cat'; want the names of the columns, file_name,text",
        ),
        ("csv", "file_name,text\n1.mp4,a cat, running\n", "line 2 has 3 columns, not 2; a text with ',' wants quotes"),
        ("csv", 'file_name,text\n1.mp4,"a cat\n2.mp4,b\n', "metadata.csv: line 3 is not CSV (unexpected end of data"),
        ("csv", "file_name,text\n,b\n", "metadata.csv: line 2: its file_name is ''"),
        ("csv", "file_name,text\n1.mp4,a\n1.mp4,b\n", "line 3: 1.mp4 has another caption in line 2; want one"),
        ("csv", "file_name,text\n1,a\n1.mov,b\n", "line 3: 1.mov has another caption in line 2; want one"),
        ("csv", "file_name,text\n3.mp4,a\n", "line 2: '3.mp4' may be a/3.mp4, b/3.mp4; want paths within the folder"),
        ("jsonl", '{"file_name": "1.mp4", "text": null}', "metadata.jsonl: line 1: its text is 'None', not a sentence"),
        ("jsonl", '\n{"file_name": 1, "text": "a"}', "metadata.jsonl: line 2: its file_name is '1'; want the path"),
        ("jsonl", '{"file_name": "1.mp4"', "metadata.jsonl: line 1: not JSON"),
        ("jsonl", "3\n", 'metadata.jsonl: line 1 is \'3\'; want {"file_name": ..., "text": ...}'),
        ("json", '{"1.mp4": "a"}', "metadata.json: is dict; want an array of objects"),
        (
            "jsonl",
            json.dumps({f"c{i}": 0 for i in range(99)}),
            "its columns are c0, c1, c2, c3, c4, c5, c6, c7, c8, c9,",
        ),
    ],
)
def test_tables_that_are_refused(kind, text, words, tmp_path):
    folder = fill(tmp_path / "d", *PAIR, "a/3.mp4", "b/3.mp4", **{f"metadata_{kind}": text})
    with pytest.raises(AnimaticError) as error:
        found(folder)
    assert words in str(error.value) and len(str(error.value)) < 300


def test_rows_without_a_file_are_counted(tmp_path):
    table = "file_name,text\n1.mp4,a\n2,b\n8.mp4,c\n9.mp4,d\nsub/1.mp4,e\n"
    captions, notes = found(fill(tmp_path / "d", *PAIR, metadata_csv=table))
    assert captions == {"1.mp4": "a", "2.mp4": "b"}  # the row of another folder's 1.mp4 does not take this one's place
    assert notes[0].endswith("metadata.csv: 1 file found by the end of a path, such as 2.mp4 by '2'")
    assert notes[1].endswith("metadata.csv: 3 of 5 rows without a file that is there, the first '8.mp4'")


def test_two_tables_must_agree(tmp_path):
    folder = fill(tmp_path / "d", *PAIR, prompts_txt="a\nb\n", videos_txt="1.mp4\n2.mp4\n")
    (folder / "metadata.csv").write_text("file_name,text\n1.mp4,a\n")
    assert found(folder)[0] == {"1.mp4": "a", "2.mp4": "b"}
    (folder / "metadata.csv").write_text("file_name,text\n1.mp4,z\n")
    with pytest.raises(AnimaticError, match=r"1\.mp4 has another caption in another table"):
        found(folder)


def test_lists_of_cogvideox(tmp_path):
    folder = fill(tmp_path / "d", "videos/1.mp4", "videos/2.mp4", prompts_txt="a\nb\n", videos_txt="videos/1.mp4\n")
    with pytest.raises(AnimaticError, match=r"prompts\.txt: 2 lines for 1 of videos\.txt; want one a video"):
        found(folder)
    (folder / "videos.txt").write_bytes(b"\xef\xbb\xbfvideos/1.mp4\r\nvideos\\2.mp4\r\n")
    assert found(folder) == ({"videos/1.mp4": "a", "videos/2.mp4": "b"}, [])


@pytest.mark.parametrize("beside", ["captions/1.txt", "videos/captions/1.txt", "labels/1.txt", "videos/1.TXT"])
def test_folders_of_captions(beside, tmp_path):
    folder = fill(tmp_path / "d", "videos/1.mp4")
    (folder / beside).parent.mkdir(exist_ok=True)
    (folder / beside).write_text("a cat")
    assert found(folder) == ({"videos/1.mp4": "a cat"}, [])


def test_boxes_of_detectors_are_no_captions(tmp_path):
    shutil.copytree(FAULTS / "data" / "d_thumb", tmp_path / "images")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "poster.txt").write_text("0 0.5 0.5 0.1 0.1")
    captions, notes = found(tmp_path)
    assert captions == {"images/poster.jpg": ""}
    assert notes[0].endswith("images/1.txt: 3 text files not used, since no clip has this name")


def test_a_text_that_differs_from_the_table_is_said(tmp_path):
    table = "file_name,text\n1.mp4,a\n2.mp4,b\n"
    captions, notes = found(fill(tmp_path / "d", *PAIR, metadata_csv=table, **{"1_txt": "z", "2_txt": "b"}))
    assert captions == {"1.mp4": "a", "2.mp4": "b"}
    assert notes == [f"{tmp_path}/d/1.txt: 1 text other than in the table, whose captions are used"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("1.txt", "\ufeffa cat\n".encode(), None),
        ("1.json", b'\xef\xbb\xbf{"caption": "a cat"}', None),
        ("metadata.csv", "\ufefffile_name,text\r\n1.mp4,a cat\r\n".encode(), None),
        ("1.txt", "a cat".encode("utf-16"), "1.txt: byte 1 is no UTF-8"),
        ("1.json", '{"caption": "é"}'.encode("latin-1"), "1.json: byte 14 is no UTF-8"),
        ("1.json", b'{"caption": ["a", "b"]}', "1.json: its text is \"['a', 'b']\", not a sentence"),
        ("metadata.csv", "file_name,text\n1.mp4,é".encode("latin-1"), "metadata.csv: byte 22 is no UTF-8"),
    ],
)
@pytest.mark.parametrize("tar", [False, True])
def test_encodings_in_folders_and_in_shards(name, data, words, tar, tmp_path):
    folder = fill(tmp_path / "d", "1.mp4")
    (folder / name).write_bytes(data)
    if tar:
        with tarfile.open(tmp_path / "d.tar", "w") as shard:
            for file in sorted(folder.iterdir()):
                shard.add(file, f"./{file.name}" if words is None else file.name)
        folder = tmp_path / "d.tar"
    if words is None:
        assert list(found(folder)[0].values()) == ["a cat"]
    else:
        with pytest.raises(AnimaticError, match=r"UTF-8|sentence") as error:
            found(folder)
        assert str(error.value).startswith(f"{folder}{':' if tar else '/'}{words}")


def test_hidden_files_are_not_looked_at(tmp_path):
    folder = fill(tmp_path / ".cache" / "d", "1.mp4", ".git/2.mp4", "a/.3.mp4", "__MACOSX/4.mp4", **{"1_txt": "one"})
    (folder / ".trash").mkdir()
    (folder / ".trash" / "metadata.csv").write_text("who,what\n")
    assert found(folder) == ({"1.mp4": "one"}, [])  # that the folder itself lies in a hidden one does not matter
    with tarfile.open(tmp_path / "d.tar", "w") as shard:
        shard.add(folder, ".")
    assert found(tmp_path / "d.tar")[0] == {"./1.mp4": "one"}


def test_links_are_followed_and_other_kinds_counted(tmp_path):
    folder = fill(tmp_path / "d", "1.mp4", "1.xyz", "2.xyz", "LICENSE")
    fill(tmp_path / "elsewhere", "5.mp4")
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    os.symlink(folder, folder / "linked" / "back")
    captions, notes = found(folder)
    assert list(captions) == ["1.mp4", "linked/5.mp4"]
    assert notes[0] == f"{folder}: 3 files of other kinds passed over: .xyz (2), no ending (1)"


def test_a_single_file(tmp_path, capsys):
    folder = fill(tmp_path / "d", *PAIR, **{"1_txt": "a cat", "2_txt": "\x00"})
    code, said, _ = dry_run(capsys, folder / "1.mp4")
    assert (code, said["clips"], said["first captions"]) == (0, 1, ["a cat", "a cat"])
    code, _, error = dry_run(capsys, folder / "1.txt")
    assert code == 2 and "1.txt: not a clip by its name; want .mp4," in error
    code, _, error = dry_run(capsys, folder / "3.mp4")
    assert code == 2 and "3.mp4: no such folder or file" in error


@pytest.mark.parametrize("suffix", [".m4v", ".ts", ".mpg", ".wmv", ".flv", ".MOV"])
def test_every_kind_that_can_be_read_is_looked_for(suffix, tmp_path, capsys):
    folder = fill(tmp_path / "d", "1.mp4", f"2{suffix}")
    assert dry_run(capsys, folder)[1]["clips"] == 2


def test_shards_and_loose_clips_together(tmp_path):
    fill(tmp_path / "x", "3.mp4", **{"3_txt": "three"})
    folder = fill(tmp_path / "d", "1.mp4", **{"1_txt": "one"})
    (folder / "sub").mkdir()
    with tarfile.open(folder / "sub" / "a.tar", "w") as shard:
        shard.add(tmp_path / "x", "x")
    captions, _ = found(folder)
    assert captions == {"1.mp4": "one", "sub/a.tar:x/3.mp4": "three"}
    with tarfile.open(folder / "sub" / "b.tar", "w:gz") as shard:
        shard.add(tmp_path / "x", "x")
    with pytest.raises(AnimaticError, match=r"b\.tar: cannot be read as an uncompressed tar file"):
        found(folder)


def test_pictures_that_are_not_used(tmp_path, capsys):
    shutil.copytree(FAULTS / "data" / "d_thumb", tmp_path / "d")
    folder = fill(tmp_path / "d", *PAIR)
    _, said, _ = dry_run(capsys, folder)
    assert "1 picture not used; --images COUNT trains on them jointly" in said["notes"]
    code, _, error = dry_run(capsys, folder, "--images", "1")
    assert code == 2 and "poster.jpg: 1 of 3 have no caption" in error
    (folder / "poster.txt").write_text("a poster")
    _, said, _ = dry_run(capsys, folder, "--images", "1")
    assert (said["clips"], said["pictures"]) == (2, 1)
    _, said, _ = dry_run(capsys, folder, "--frames", "1")  # pictures and frames of clips
    assert said["clips"] == 3


def test_folders_are_classes(tmp_path, capsys):
    folder = fill(tmp_path / "UCF-101", "train/Archery/v_1.avi", "train/Bowling/v_2.avi", "train/Bowling/v_3.avi")
    _, said, _ = dry_run(capsys, folder, "--text", "labels")
    assert said["text"] == "labels" and set(said["first captions"]) <= {"Archery", "Bowling"}
    assert "text: labels, the folders Archery, Bowling" in said["notes"]
    code, _, error = dry_run(capsys, fill(folder, "loose.avi"), "--text", "labels")
    assert code == 2 and "loose.avi: 1 of 4 have no class; want a folder of its class" in error
    made = fit(replace(SMALL, data=str(folder / "train"), text="labels", out=str(tmp_path / "o")))
    assert json.loads((made / "animatic.json").read_text())["classes"] == ["Archery", "Bowling"]


def test_empty_captions_are_counted(tmp_path):
    assert found(fill(tmp_path / "d", *PAIR, **{"1_txt": "a", "2_txt": " \n"}))[1] == [
        f"{tmp_path}/d/2.mp4: 1 of 2 captions empty: trained without text"
    ]


def test_lists_in_messages_are_short(capsys):
    assert (listed("abc"), listed(range(9000), 2)) == ("a, b, c", "0, 1 and 8,998 more")
    assert (counted(1, "clip"), counted(1200, "clip")) == ("1 clip", "1,200 clips")
    code, _, error = dry_run(capsys, Path("toy"), "--text", "labels")
    assert code == 2 and error.startswith("error: text is 'labels', but the toy world's captions are endless sentences")
    items = [replace(items_of(str(CLIP))[0], caption=f"class {i}") for i in range(2000)]
    notes: list[str] = []
    with_text_mode("labels", items, notes.append)
    assert notes[0].endswith("and 1,992 more") and len(notes[0]) < 200
    with pytest.raises(AnimaticError, match=r"unknown class 'x'; this model knows 0, 1, .* and 1,988 more$"):
        Labels([str(i) for i in range(2000)], 4)(["x"])


def weights_and_tokens(made: Path) -> tuple[int, str]:
    """How many tokens the model's table has, and the tokenizer."""
    config = json.loads((made / "text_encoder" / "config.json").read_text())
    return config["vocab_size"], (made / "tokenizer" / "tokenizer.json").read_text()


def test_a_resumed_run_keeps_its_tokenizer(tmp_path):
    folder = fill(tmp_path / "d", "a.mp4", **{"a_txt": "one cat"})
    settings = replace(SMALL, data=str(folder), out=str(tmp_path / "o"))
    before = weights_and_tokens(fit(settings))

    # A caption changes, a clip is added: both are learnt with the tokenizer there is, and said.
    notes: list[str] = []
    (folder / "a.txt").write_text("red dog")
    fill(folder, "b.mp4", **{"b_txt": "one cat"})
    made = fit(replace(settings, steps=2), note=notes.append)
    assert weights_and_tokens(made) == before
    assert notes == [
        f"data: since the last start 1 caption changed ({folder}/a.mp4: 'one cat' is now 'red dog'), "
        f"1 clip added ({folder}/b.mp4)",
        "text: 2 words unknown to the run's tokenizer, which spells them: dog, red",
    ]

    # Nothing changes: only the words are said again. A clip goes.
    notes.clear()
    fit(replace(settings, steps=3), note=notes.append)
    assert notes == ["text: 2 words unknown to the run's tokenizer, which spells them: dog, red"]
    notes.clear()
    (folder / "a.mp4").unlink()
    fit(replace(settings, steps=4), note=notes.append)
    assert notes[-1] == f"data: since the last start 1 clip gone ({folder}/a.mp4)"
    assert notes[0].endswith("a.txt: 1 text file not used, since no clip has this name")

    # Without the tokenizer of the run that of its model serves; without both the layer is named that does not fit.
    shutil.rmtree(tmp_path / "o" / "tokenizer")
    assert weights_and_tokens(fit(replace(settings, steps=5))) == before
    shutil.rmtree(tmp_path / "o" / "tokenizer", ignore_errors=True)
    shutil.rmtree(made / "tokenizer")
    (folder / "b.txt").write_text("elephants everywhere, and more")
    with pytest.raises(
        AnimaticError, match=r"cannot be resumed .*; size mismatch for text\.encoder\.\S*token_embedding"
    ):
        fit(replace(settings, steps=6))


def test_a_resumed_run_from_the_command_line(tmp_path, capsys):
    folder = fill(tmp_path / "d", "a.mp4", **{"a_txt": "one cat"})
    command = ["train", "--data", str(folder), "--out", str(tmp_path / "o"), *TINY, "--sample-every", "0", "--fps", "8"]
    for steps, caption, notes in (
        (2, "one cat", []),
        (3, "one cat", []),
        (4, "one red cat", ["1 caption changed", "1 word unknown to the run's tokenizer, which spells them: red"]),
    ):
        (folder / "a.txt").write_text(caption)
        with pytest.raises(SystemExit) as end:
            main([*command, "--steps", str(steps), "--json"])
        said = json.loads(capsys.readouterr().out)
        assert not end.value.code and len(said["notes"]) == len(notes)
        assert all(words in note for words, note in zip(notes, said["notes"], strict=True))


def test_a_resumed_run_keeps_its_classes(tmp_path):
    folder = fill(tmp_path / "d", "cat/1.mp4", "dog/2.mp4")
    settings = replace(SMALL, data=str(folder), text="labels", out=str(tmp_path / "o"))
    fit(settings)
    shutil.rmtree(folder / "cat")
    made = fit(replace(settings, steps=2))
    assert json.loads((made / "animatic.json").read_text())["classes"] == ["cat", "dog"]
    fill(folder, "bear/3.mp4")
    with pytest.raises(AnimaticError, match="learns the classes cat, dog; new are bear; want another --out"):
        fit(replace(settings, steps=3))


def test_a_run_without_text_says_what_changed_too(tmp_path):
    folder = fill(tmp_path / "d", "a.mp4")
    settings = replace(SMALL, data=str(folder), out=str(tmp_path / "o"))
    fit(settings)
    notes: list[str] = []
    fit(replace(settings, steps=2, data=str(fill(folder, "b.mp4"))), note=notes.append)
    assert f"data: since the last start 1 clip added ({folder}/b.mp4)" in notes
    notes.clear()
    fit(replace(settings, steps=1), note=notes.append)
    (folder / "a.txt").write_text("a cat")
    (folder / "b.txt").write_text("a dog")
    with pytest.raises(AnimaticError, match=r"/o learns with text none, now it would be own; want another --out"):
        fit(replace(settings, steps=3))
    assert f"{tmp_path}/o has 2 steps; --steps 1 adds none" in notes


def test_a_caption_too_long_is_named_before_the_first_step(tmp_path):
    folder = fill(tmp_path / "d", *PAIR, **{"1_txt": "a cat", "2_txt": "word " * 70})
    with pytest.raises(AnimaticError, match=r"d/2\.mp4: prompt .* has 72 tokens; the text encoder reads at most 64"):
        DiffusionTrainer(replace(SMALL, data=str(folder), out=str(tmp_path / "o")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": -1}, "images is -1; want 0 or more"),
        ({"fps": -8.0}, "fps is -8.0; want 0 or more"),
        ({"fps": float("nan")}, "fps is nan; want 0 or more"),
        ({"guidance": float("inf")}, "guidance is inf; want 0 or more"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; want more than 0"),
        ({"cfg_dropout": float("nan")}, "cfg_dropout is nan; want 0 to 1"),
        ({"seed": -1}, "seed is -1; want a whole number from 0 to 9"),
        ({"seed": 2**64}, "seed is 18446744073709551616; want a whole number from 0 to 9"),
        ({"teach": "robot"}, "teach is 'robot', which only --lora RANK has a use for"),
        ({"lora_layers": "time"}, "lora_layers is 'time', which only --lora RANK has a use for"),
        ({"lora": 2}, "lora is 2, but small is a fresh network; want a model folder"),
        (
            {"noise_augmentation": 0.5},
            "noise_augmentation is 0.5, which only --learn upscale or interpolate has a use for",
        ),
        ({"learn": "upscale:2", "images": 1}, "images is 1, which --learn upscale:2 has no use for"),
        ({"learn": "upscale:2", "text": "own"}, "text is 'own', but --learn upscale:2 reads no text; want none"),
        ({"flip": True, "cache": True}, "flip and cache are given"),
        ({"target": "flow", "schedule": "linear"}, "schedule is 'linear' with target 'flow', which has none"),
        ({"model": "mini", "size": "64", "target": "flow"}, "target is 'flow', but mini predicts v; want that"),
        ({"model": "mini", "size": "64", "schedule": "linear"}, "schedule is 'linear', but mini has its own"),
        ({"model": "mini", "size": "64", "text": "labels"}, "text is 'labels', but mini reads words; want own"),
        ({"log": "json"}, "log is 'json'; want tensorboard, trackio, wandb"),
    ],
)
def test_options_that_would_be_without_effect(change, words, tmp_path):
    folder = fill(tmp_path / "d", "a.mp4", **{"a_txt": "a cat"})
    with pytest.raises(AnimaticError, match=words):
        DiffusionTrainer(replace(SMALL, **{"data": str(folder), "out": str(tmp_path / "o"), **change}))


def test_a_loaded_model_wants_every_caption_or_none(tmp_path):
    folder = fill(tmp_path / "d", *PAIR, **{"1_txt": "a bear"})
    settings = replace(SMALL, data=str(folder), model="mini", size="64", lora=1, out=str(tmp_path / "o"))
    with pytest.raises(AnimaticError, match=r"2\.mp4: 1 of 2 have no caption"):
        DiffusionTrainer(settings)
    notes: list[str] = []
    trainer = DiffusionTrainer(replace(settings, text="none"), note=notes.append)
    assert trainer.preview()["first captions"] == ["", ""]
    assert notes == ["dim, multiples: not used, since mini has its own sizes"]


def test_a_network_without_text_leaves_captions_out_and_says_so(tmp_path):
    plain = fit(replace(SMALL, data=str(fill(tmp_path / "p", "a.mp4")), out=str(tmp_path / "o")))
    folder = fill(tmp_path / "d", "a.mp4", **{"a_txt": "a bear"})
    settings = replace(SMALL, data=str(folder), model=str(plain), out=str(tmp_path / "q"))
    notes: list[str] = []
    assert DiffusionTrainer(settings, note=notes.append).text_mode == "none"
    assert f"text: none ({plain} reads none)" in notes
    with pytest.raises(AnimaticError, match=r"text is 'own', but .*/o/model reads none; want none"):
        DiffusionTrainer(replace(settings, text="own"))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_worker_complains_in_one_line_too(workers, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.mp4").write_bytes(b"no video")
    wanted = r"^none of 1 file can be used; the first: \S*d/a\.mp4: cannot be read"
    with pytest.raises(AnimaticError, match=wanted) as error:
        fit(replace(SMALL, data=str(tmp_path / "d"), workers=workers, out=str(tmp_path / "o")))
    assert "\n" not in str(error.value)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    folder = fill(tmp_path / "d", "a.mp4")
    with pytest.raises(AnimaticError, match=r"step \d+: the loss is (nan|inf); want a lower learning rate, now 1e\+30"):
        fit(replace(SMALL, data=str(folder), steps=6, save_every=9, learning_rate=1e30, out=str(tmp_path / "o")))
    assert not list((tmp_path / "o" / "checkpoints").glob("*"))


def test_settings_that_are_damaged(tmp_path):
    folder, out = fill(tmp_path / "d", "a.mp4"), tmp_path / "o"
    out.mkdir()
    for text, words in (("{", r"settings\.json: not JSON"), ("[]", r"settings\.json: is not what a run writes")):
        (out / "settings.json").write_text(text)
        with pytest.raises(AnimaticError, match=words):
            fit(replace(SMALL, data=str(folder), out=str(out)))


def test_a_damaged_clip_is_learnt_from_and_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8)
    file = Video(noise).save(tmp_path / "d" / "cut.mkv", scale=1)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    notes: list[str] = []
    trainer = DiffusionTrainer(replace(SMALL, data=str(tmp_path / "d"), out=str(tmp_path / "o")), note=notes.append)
    assert trainer.preview()["skipped"] == 0
    assert [note for note in notes if note.startswith("damaged (1): ") and "cut.mkv" in note]


def test_the_toy_world_beside_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "toy", "a.mp4")
    notes: list[str] = []
    assert len(items_of("toy", note=notes.append)) == 1_000_000
    assert notes == ["data is toy, the toy world; the folder of this name is ./toy"]
    assert len(items_of("./toy")) == 1


def test_a_json_member_of_a_shard_that_is_no_object(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        shard.add(CLIP, "1.mp4")
        for name, data in (("1.json", b"[1]"), ("2.json", b"{")):  # 2.json is of no clip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    assert found(tmp_path / "a.tar")[0] == {"1.mp4": ""}


def test_the_command_itself_on_a_terminal_that_is_none(tmp_path):
    """The real command: notes are lines of stderr; standard output has the tables."""
    folder = fill(tmp_path / "d", "1.mp4")
    command = [sys.executable, "-m", "animatic", "train", "--data", str(folder), "--out", str(tmp_path / "o"), *TINY]
    done = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "note: text: none (no captions found)",
        "note: fps: that of each file; videos of the model play at 8, see --fps",
    ]
    assert not (tmp_path / "o").exists()
