"""Scenes for other tools, and boxes from tracking and annotation tools."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import opentimelineio
import pytest
from PIL import Image

from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.exchange.exporting import FORMATS, ExportOptions, export
from animatic.exchange.importing import read_annotations, scene_of
from animatic.planning.replies import read
from animatic.scene import Scene, Track, load_scene, save_story

LEFT, RIGHT = (0.0, 0.25, 0.25, 0.75), (0.75, 0.25, 1.0, 0.75)
BALL = Scene("a red ball & <a cat>", (Track("a red ball", (LEFT, RIGHT)), Track("<a cat>", (None, LEFT))), seconds=1.0)
STILL = Scene("a cat", (Track("a cat", (LEFT,)),), seconds=0.0)
SMALL = ExportOptions(fps=4.0, size=(16, 8))

MOT = "1,7,10,20,30,40,1,-1,-1,-1\n3,7,20,20,30,40,1,-1,-1,-1\n2,9,-5,0,15,10,1\n2,8,0,0,5,5,0\n"
COCO = {
    "images": [
        {"id": 5, "file_name": "b.png", "width": 100, "height": 50},
        {"id": 4, "file_name": "a.png", "width": 100, "height": 50},
    ],
    "categories": [{"id": 1, "name": "dog"}],
    "annotations": [
        {"image_id": 4, "category_id": 1, "bbox": [0, 0, 50, 25], "attributes": {"track_id": 3}},
        {"image_id": 5, "category_id": 1, "bbox": [50, 25, 50, 25], "attributes": {"track_id": 3}},
    ],
}
CVAT = """<?xml version="1.0"?><annotations><meta><task><size>4</size>
<original_size><width>200</width><height>100</height></original_size></task></meta>
<track id="0" label="dog"><box frame="0" outside="0" xtl="0" ytl="0" xbr="100" ybr="50"/>
<box frame="1" outside="1" xtl="0" ytl="0" xbr="100" ybr="50"/></track></annotations>"""


def test_boxes_are_what_gligen_pipelines_take(tmp_path: Path) -> None:
    file = export((BALL, STILL), tmp_path / "boxes.json", options=SMALL)
    frames = json.loads(file.read_text())["frames"]
    assert len(frames) == 5 and frames[0]["gligen_phrases"] == ["a red ball"] and frames[0]["gligen_boxes"] == [[*LEFT]]
    assert frames[3]["gligen_phrases"] == ["a red ball", "<a cat>"] and frames[3]["gligen_boxes"] == [[*RIGHT], [*LEFT]]
    assert frames[4]["prompt"] == "a cat"


def test_masks_are_white_inside_the_box(tmp_path: Path) -> None:
    folder = export((BALL, STILL), tmp_path / "masks", options=SMALL)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert (
        len(files) == 2 * 4 + 1 and "scene-0/0-a-red-ball/00000.png" in files and "scene-1/0-a-cat/00000.png" in files
    )
    mask = np.asarray(Image.open(folder / "scene-0/0-a-red-ball/00000.png").convert("L"))
    assert mask.shape == (8, 16) and (mask[2:6, :4] == 255).all() and mask.sum() == 255 * 16
    assert not np.asarray(Image.open(folder / "scene-0/1-a-cat/00000.png").convert("L")).any()
    assert not list(tmp_path.glob(".*"))


def test_lvds_text_is_read_again_as_the_same_boxes(tmp_path: Path) -> None:
    scene = Scene("a cat", (Track("a cat", (LEFT, LEFT, RIGHT, RIGHT, None, LEFT)),), background="grass")
    reply = read(export((scene,), tmp_path / "reply.txt").read_text())
    assert reply.scene("a cat")[0].tracks[0].boxes == scene.tracks[0].boxes
    with pytest.raises(AnimaticError, match="2 scenes"):
        export((scene, scene), tmp_path / "two.txt")


def test_an_svg_moves_its_boxes_and_escapes_words(tmp_path: Path) -> None:
    root = ElementTree.parse(export((BALL, STILL), tmp_path / "a.svg", options=SMALL)).getroot()
    space = {"s": "http://www.w3.org/2000/svg"}
    labels = [text.text for text in root.iterfind(".//s:text", space)]
    assert labels == ["a red ball", "<a cat>", "a cat"]
    ball = root.find("s:g", space)
    assert ball is not None and ball.get("visibility") == "visible"
    animated = {
        a.get("attributeName"): a.get("values", "").split(";") for a in ball.iterfind(".//s:rect/s:animate", space)
    }
    assert animated["x"] == ["0.00", "4.00", "8.00", "12.00", "12.00"]  # then absent in the second scene
    seen = next(a for a in ball.iterfind("s:animate", space))
    assert seen.get("values") == "visible;visible;visible;visible;hidden" and seen.get("dur") == "1.25s"


def test_a_timeline_has_a_clip_for_each_scene_and_a_marker_for_each_object(tmp_path: Path) -> None:
    video = tmp_path / "film one.mp4"
    video.touch()
    file = export((BALL, STILL), tmp_path / "a.otio", options=ExportOptions(fps=4.0, video=str(video)))
    timeline = opentimelineio.adapters.read_from_file(str(file))
    clips = list(timeline.find_clips())
    assert [clip.source_range.start_time.value for clip in clips] == [0, 4]
    assert [clip.duration().value for clip in clips] == [4, 1]
    assert [(m.name, m.marked_range.start_time.value, m.marked_range.duration.value) for m in clips[0].markers] == [
        ("a red ball", 0, 4),
        ("<a cat>", 2, 2),
    ]
    assert clips[0].media_reference.target_url == video.resolve().as_uri()


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_there_is_overwritten(form: str, tmp_path: Path) -> None:
    target = tmp_path / f"there{FORMATS[form].suffix}"
    target.write_text("mine")
    with pytest.raises(AnimaticError, match="is there already"):
        export((STILL,), target, form)
    assert target.read_text() == "mine"


def test_mot_counts_frames_from_one_and_cuts_boxes_to_the_frame(tmp_path: Path) -> None:
    file = tmp_path / "gt.txt"
    file.write_text(MOT)
    scene = scene_of(read_annotations(file), names={"7": "a dog", "9": "a cat"}, size=(100, 100), fps=2.0)
    dog, cat = scene.tracks
    assert dog.boxes == ((0.1, 0.2, 0.4, 0.6), None, (0.2, 0.2, 0.5, 0.6))
    assert cat.boxes == (None, (0.0, 0.0, 0.1, 0.1), None)
    assert (scene.prompt, scene.seconds) == ("a dog and a cat", 1.5)
    with pytest.raises(AnimaticError, match="track 7 has no label; want --name 7=WORDS"):
        scene_of(read_annotations(file), size=(100, 100))
    with pytest.raises(AnimaticError, match="want --size"):
        scene_of(read_annotations(file), names={"7": "a dog", "9": "a cat"})


def test_coco_frames_are_in_the_order_of_their_files(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(COCO))
    (dog,) = scene_of(read_annotations(file), names={"dog": "a brown dog"}).tracks
    assert dog.phrase == "a brown dog" and dog.boxes == ((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0))


def test_cvat_boxes_outside_are_absent(tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    file.write_text(CVAT)
    scene = scene_of(read_annotations(file), keys=2)
    assert scene.tracks[0].boxes == ((0.0, 0.0, 0.5, 0.5), None) and scene.seconds == 0.5  # four frames at 8 a second


BAD = {
    "a.txt": ("1,2,3\n", "3 values"),
    "b.txt": ("0,1,0,0,5,5,1\n", "frame -1"),
    "c.txt": ("1e9,1,0,0,5,5,1\n", "frame"),
    "d.txt": ("1,1,nan,0,5,5,1\n", "want a number"),
    "e.txt": ("", "no boxes"),
    "f.json": ("[" * 100_000, "COCO"),
    "g.json": ("{}", "images"),
    "h.xml": ("<annotations>", "CVAT"),
    "i.xml": ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "Entities"),
    "j.xml": ("<a/>", "'a'"),
    "k.mov": ("", "ending"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_annotations_are_one_line(name: str, tmp_path: Path, capsys) -> None:
    text, reason = BAD[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit):
        main(["import-boxes", str(tmp_path / name), "--size", "10x10"])
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1 and "Traceback" not in error


def test_there_and_back_on_the_command_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.xml").write_text(CVAT)
    scene = tmp_path / "scene.json"
    for words in (
        f"import-boxes {tmp_path}/a.xml --name 0=a_dog --out {scene}",
        f"export {scene} --out {tmp_path}/a.svg",
        f"export {scene} --out {tmp_path}/masks --as masks --size 8x8",
    ):
        with pytest.raises(SystemExit) as end:
            main(words.split())
        assert not end.value.code, capsys.readouterr().err
    assert load_scene(scene).tracks[0].phrase == "a_dog" and (tmp_path / "masks/scene-0/0-a-dog/00003.png").is_file()

    save_story((STILL,), tmp_path / "still.json")
    with pytest.raises(SystemExit) as end:
        main(["export", str(tmp_path / "still.json"), "--out", str(tmp_path / "a.gif")])
    assert end.value.code and "want one of boxes, masks, lvd, svg, timeline" in capsys.readouterr().err
