"""Scenes: validated, resampled, rasterised, written and read without loss."""

import json
import math

import numpy as np
import pytest
from conftest import golden
from hypothesis import given
from hypothesis import strategies as st

from animatic.errors import AnimaticError
from animatic.scene import Scene, Track, cells, load_scene, load_story, parse, save_story

MOVE = Track("bear", ((0, 0.5, 0.2, 0.8), None, (0.8, 0.5, 1, 0.8)))


@st.composite
def scenes(draw):
    span = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
    box = st.one_of(st.none(), st.tuples(span, span).map(lambda s: (s[0][0], s[1][0], s[0][1], s[1][1])))
    keys = draw(st.integers(1, 6))
    words = st.text(min_size=1, max_size=20).filter(str.strip)
    tracks = draw(
        st.lists(
            st.builds(Track, words, st.lists(box, min_size=keys, max_size=keys).map(tuple), st.text(max_size=5)),
            max_size=3,
        )
    )
    return Scene(
        draw(words),
        tuple(tracks),
        draw(st.text(max_size=9)),
        draw(st.text(max_size=9)),
        draw(st.floats(0, 100)),
        draw(st.text(max_size=30)),
    )


@given(scenes())
def test_json_loses_nothing(scene):
    assert parse(json.loads(scene.to_json())) == scene


def test_files(tmp_path):
    one, two = Scene("a", (MOVE,)), Scene("b", background="forest")
    one.save(tmp_path / "deep" / "one.json")
    assert load_scene(tmp_path / "deep" / "one.json") == one
    save_story((one, two), tmp_path / "story.json")
    assert load_story(tmp_path / "story.json") == (one, two)
    assert load_story(tmp_path / "deep" / "one.json") == (one,)
    with pytest.raises(AnimaticError, match="story of 2 scenes"):
        load_scene(tmp_path / "story.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "story.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tracks": [{"phrase": "a", "boxes": [[0.9, 0, 0.2, 1]]}]}, "tracks.0.boxes.*reversed"),
        ({"tracks": [{"phrase": "a", "boxes": [[0, 0, 1.2, 1]]}]}, "tracks.0.boxes.*0..1"),
        ({"tracks": [{"phrase": "a", "boxes": [[0, 0, math.nan, 1]]}]}, "tracks.0.boxes.*nan"),
        ({"tracks": [{"phrase": "a", "boxes": []}]}, "at least one"),
        ({"tracks": [{"phrase": " ", "boxes": [None]}]}, "tracks.0.phrase"),
        ({"tracks": [{"phrase": "a", "boxes": [None]}, {"phrase": "b", "boxes": [None, None]}]}, "same number"),
        ({"tracks": [{"phrase": "a", "boxes": [[0, 0, 1]]}]}, "tracks.0.boxes.0"),
        ({"prompt": ""}, "prompt"),
        ({"seconds": -1}, "seconds"),
        ({"colour": "red"}, "colour"),
        ({"version": 3}, "version is 3"),
        ({"times": [0, 0.5]}, "times: found.*the last 1"),
        ({"times": [0, 0.5, 0.5, 1]}, "rising"),
        ({"times": [0, 1], "tracks": [{"phrase": "a", "boxes": [None]}]}, "times are 2 for 1 key frames"),
    ],
)
def test_bad_scenes_name_the_field(change, message):
    with pytest.raises(AnimaticError, match=message) as caught:
        parse({"prompt": "a", "tracks": [], **change}, "scene.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", '"a"', '{"scenes": []}', '{"scenes": [3]}', "\udcff"])
def test_broken_files(tmp_path, content):
    (tmp_path / "s.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(AnimaticError, match=r"s\.json"):
        load_scene(tmp_path / "s.json")
    with pytest.raises(AnimaticError, match="cannot be read"):
        load_scene(tmp_path / "none.json")


def test_linear_frames():
    track = Track("a", ((0, 0, 0.2, 0.2), (0.8, 0, 1, 0.2)))
    boxes = Scene("a", (track,)).at(5).tracks[0].boxes
    assert [round(b[0], 6) for b in boxes] == [0, 0.2, 0.4, 0.6, 0.8]
    assert [b is None for b in Scene("a", (MOVE,)).at(9).tracks[0].boxes] == [False] * 2 + [True] * 4 + [False] * 3
    assert Scene("a", (MOVE,)).at(1).tracks[0].boxes == (MOVE.boxes[0],)
    assert Scene("a", (MOVE,)).at(3).tracks[0].boxes == MOVE.boxes
    with pytest.raises(AnimaticError, match="frames is 0"):
        Scene("a", (MOVE,)).at(0)


KEYS = {
    "full": [(85 * i / 512, 0.2, 85 * i / 512 + 0.1, 0.5) for i in range(6)],
    "late": [None] * 3 + [(x, 0.2, x + 0.1, 0.5) for x in (0.1, 0.2, 0.3)],
    "early": [(x, 0.2, x + 0.1, 0.5) for x in (0.1, 0.2, 0.3)] + [None] * 3,
    "gap": [(0.0, 0, 0.1, 1), (0.1, 0, 0.2, 1), None, None, (0.4, 0, 0.5, 1), (0.5, 0, 0.6, 1)],
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("frames", [6, 16, 24])
def test_legacy_frames_equal_the_original(kind, frames):
    recorded = golden("lmd_lvd/lvd_layout.json")[f"interp {kind} -> {frames}"]
    boxes = Scene("a", (Track("a", tuple(KEYS[kind])),)).at(frames, legacy=True).tracks[0].boxes
    assert [int(b is not None) for b in boxes] == recorded["valid"]
    assert [b[0] if b else 0.0 for b in boxes] == pytest.approx(recorded["x_min"], abs=2e-5)


def test_legacy_cells_equal_the_original():
    recorded = golden("lmd_lvd/lvd_loss.json")["scale_proportion"]
    for box, grids in recorded.items():
        x0, y0, x1, y1 = json.loads(box)
        for grid, want in grids.items():
            height, width = map(int, grid.split("x"))
            x, y = cells(x0, x1, width, legacy=True), cells(y0, y1, height, legacy=True)
            assert [x.start, y.start, x.stop, y.stop] == want


def test_masks():
    tiny = Track("a", ((0.03, 0.03, 0.05, 0.05),))
    assert Scene("a", (tiny,)).masks(1, 8, 8).sum() == 1
    assert Scene("a", (tiny,)).masks(1, 8, 8, legacy=True).sum() == 0
    masks = Scene("a", (MOVE,)).masks(3, 10, 10)
    assert masks.shape == (1, 3, 10, 10) and masks.dtype == bool
    assert masks.sum((2, 3)).tolist() == [[6, 0, 6]]
    assert np.argwhere(masks[0, 2])[0].tolist() == [5, 8]


@st.composite
def rising_times(draw):
    between = draw(st.lists(st.floats(0.01, 0.99), max_size=4, unique=True))
    return (0.0, *sorted(between), 1.0)


@given(rising_times(), st.integers(1, 40))
def test_key_frames_stand_at_their_times(times, frames):
    """What moves evenly in time is one straight line, whenever its key frames are; numpy says where it is."""
    boxes = tuple((0.5 * time**2, 0.25, 0.5 + 0.5 * time, 0.75) for time in times)
    scene = Scene("a bear", (Track("bear", boxes),), times=times)
    assert parse(json.loads(scene.to_json())) == scene and scene.key_times == times
    found = scene.at(frames)
    assert found.times == () and found.keys == frames
    at = np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)
    expected = np.stack([np.interp(at, times, np.array(boxes)[:, c]) for c in range(4)], 1)
    np.testing.assert_allclose(np.array(found.tracks[0].boxes), expected, atol=1e-6)


def test_times_of_an_even_scene_change_nothing():
    even = Scene("a bear", (MOVE,))
    timed = Scene("a bear", (MOVE,), times=(0.0, 0.5, 1.0))
    assert timed.key_times == even.key_times
    assert timed.at(9).tracks == even.at(9).tracks
    assert "times" not in even.to_json() and json.loads(even.to_json())["version"] == 1
    assert json.loads(timed.to_json())["version"] == 2


def test_the_nearer_key_frame_decides_at_its_time():
    scene = Scene("a", (Track("a", ((0, 0, 1, 1), None, None)),), times=(0.0, 0.2, 1.0))
    shown = [box is not None for box in scene.at(21).tracks[0].boxes]
    assert shown == [True] * 2 + [False] * 19  # absent from 0.1 on


def test_times_in_files_of_stories_and_requests(tmp_path):
    from animatic.request import GenerationRequest

    story = (Scene("a", (MOVE,), times=(0.0, 0.25, 1.0)), Scene("b"))
    save_story(story, tmp_path / "story.json")
    assert load_story(tmp_path / "story.json") == story
    written = GenerationRequest(story).to_dict()
    assert "times" in written["story"][0] and "times" not in written["story"][1]
    assert GenerationRequest.of_dict(json.loads(json.dumps(written))).story == story


def test_a_published_rule_takes_even_key_frames_only():
    scene = Scene("a", (MOVE,), times=(0.0, 0.25, 1.0))
    with pytest.raises(AnimaticError, match=r"times of the scene are \[0.0, 0.25, 1.0\]; want evenly spaced"):
        scene.at(4, legacy=True)


def test_the_text_form_takes_even_key_frames_only():
    from animatic.planning.replies import to_text

    boxes = ((0, 0, 0.5, 0.5),) * 6
    assert "Frame 6" in to_text(Scene("a", (Track("a", boxes),)))
    with pytest.raises(AnimaticError, match="times of its 6 key frames; the text form takes 6 evenly spaced"):
        to_text(Scene("a", (Track("a", boxes),), times=(0.0, 0.1, 0.2, 0.3, 0.4, 1.0)))
