"""Results beside one another: no name is taken twice."""

from pathlib import Path

from animatic.files import fresh_path


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path):
    wanted = tmp_path / "clip.finished.mp4"
    assert fresh_path(wanted) == wanted
    wanted.write_text("one")
    assert fresh_path(wanted) == tmp_path / "clip.finished-2.mp4"
    (tmp_path / "clip.finished-2.mp4").write_text("two")
    assert fresh_path(wanted) == tmp_path / "clip.finished-3.mp4"


def test_the_same_result_keeps_its_name(tmp_path: Path):
    wanted = tmp_path / "clip.mp4"
    wanted.write_text("one")
    (tmp_path / "clip-2.mp4").write_text("two")
    assert fresh_path(wanted, lambda file: file.read_text() == "one") == wanted
    assert fresh_path(wanted, lambda file: file.read_text() == "two") == tmp_path / "clip-2.mp4"
    assert fresh_path(wanted, lambda file: file.read_text() == "three") == tmp_path / "clip-3.mp4"


def test_files_of_several_kinds_share_one_number(tmp_path: Path):
    (tmp_path / "bear.v1.gif").write_text("one")
    assert fresh_path(tmp_path / "bear.v1", suffixes=(".mp4",)) == tmp_path / "bear.v1"
    assert fresh_path(tmp_path / "bear.v1", suffixes=(".mp4", ".gif")) == tmp_path / "bear.v1-2"
