"""What planners are told and say: one file is read once, reasons are true, no option is passed over."""

import io
import json
import subprocess
import sys

import pytest

from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.planning.cache import Cache
from animatic.planning.planners import ImportedReplies, PlannerOptions, planner_named
from animatic.planning.replies import read, read_story
from animatic.planning.rules import plan

GOOD = {
    "reasoning": "", "background": "grass", "negative": "",
    "tracks": [{"phrase": "bear", "boxes": [[0.1, 0.2, 0.4, 0.8]] * 6}],
}  # fmt: skip
TEXT = json.dumps(GOOD, indent=1)


def fails(*arguments, capsys):
    """The one line on stderr after the chat, and how often the chat was shown."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    err = capsys.readouterr().err
    assert end.value.code == 2
    return err.splitlines()[-1], err.count("[system]")


def test_a_reply_file_is_read_once(tmp_path, capsys):
    file = tmp_path / "reply.txt"
    file.write_text("I would rather not.")
    line, shown = fails("plan", "a bear", "--planner", "paste", "--reply", str(file), "--cache", "none", capsys=capsys)
    assert line.startswith("error: reply 'I would rather not.'") and "replies could not be read" not in line
    assert shown == 1


def test_a_pipe_is_read_once(monkeypatch, capsys):
    """The second reading would find nothing, and say that instead of what was wrong."""
    monkeypatch.setattr("sys.stdin", io.StringIO("I would rather not."))
    line, shown = fails("plan", "a bear", "--planner", "paste", "--cache", "none", capsys=capsys)
    assert "I would rather not." in line and shown == 1


def at(text, place, skip=0):
    """The words of a message about a place in a text: line and column, from 1."""
    position = text.index(place) + skip
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - (text.rfind(chr(10), 0, position))}"


COMMA = TEXT.replace('"negative": "",', '"negative": "",,')
UNQUOTED = TEXT.replace("0.8\n    ]", "80 %\n    ]", 1)
MISSING = TEXT.replace("0.1,", "0.1", 1)
WRITTEN = f"Here is the scene:\n```json\n{UNQUOTED}\n```\nI hope it helps."
BROKEN = {
    "two commas": (COMMA, at(COMMA, ",,", 1), "two commas in a row"),
    "a per cent sign": (UNQUOTED, at(UNQUOTED, "%"), "'%' is not expected here"),
    "a comma is missing": (MISSING, at(MISSING, "0.2"), "'0' is not expected here"),
    "after words": (WRITTEN, at(WRITTEN, "%"), "'%' is not expected here"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_json_says_where_and_why(name):
    text, place, reason = BROKEN[name]
    with pytest.raises(AnimaticError) as error:
        read(text)
    said = str(error.value)
    assert place in said and reason in said and said.endswith("want a whole JSON object"), said
    assert "ends inside" not in said and "\n" not in said and len(said) < 250


@pytest.mark.parametrize("cut", [30, 60, 100])
@pytest.mark.parametrize("fence", ["", "\n```\n"])
def test_what_is_cut_ends_inside_its_json(cut, fence):
    with pytest.raises(AnimaticError, match="reply ends inside its JSON"):
        read(TEXT[:-cut] + fence)


def test_broken_stories_and_depth():
    story = json.dumps({"scenes": [{"prompt": "a bear", "seconds": 2, **GOOD}]})
    ((_, reply),) = read_story(story[:-1] + ",}")
    assert reply.repairs == ("the JSON has a trailing comma",)
    with pytest.raises(AnimaticError, match="two commas in a row"):
        read_story(story[:-1] + ",,}")
    with pytest.raises(AnimaticError, match="nested too deep"):
        read('{"tracks": ' + "[" * 100_000)


@pytest.mark.parametrize(
    ("planner", "told", "wanted"),
    [
        ("rules", {"reply": "x.txt"}, "reply is given, but planner 'rules' takes none; want planner paste"),
        ("rules", {"temperature": 1.0}, "want planner openai or completions or local"),
        ("rules", {"template": "t.md"}, "want planner openai or completions or local or paste"),
        ("paste", {"temperature": 1.0}, "planner 'paste' takes none"),
        ("local:m", {"base_url": "http://x"}, "base-url is given, but planner 'local' takes none; want planner openai"),
        ("openai:m", {"reply": "x"}, "want planner paste"),
        ("cached:m", {"form": "text"}, "form is given"),
    ],
)
def test_an_option_without_use_is_refused(planner, told, wanted):
    with pytest.raises(AnimaticError) as error:
        planner_named(planner, PlannerOptions(**told))
    assert wanted in str(error.value)


def test_options_of_many_prompts_and_of_one(tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("a bear\n")
    listed = ["plan", "--prompts", str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "out")]
    assert "takes no prompt, --draw or --sample" in fails(*listed, "--sample", "2", capsys=capsys)[0]
    assert "--reply is one reply" in fails(*listed, "--planner", "paste", "--reply", "r.txt", capsys=capsys)[0]
    assert "candidates is 3" in fails("plan", "a bear", "--candidates", "3", capsys=capsys)[0]
    assert "price is 'nan,1'" in fails("plan", "a bear", "--price", "nan,1", capsys=capsys)[0]


def test_warnings_are_kept_with_the_reply(tmp_path, capsys):
    """The second time, too, it is said that a box was cut."""
    outside = json.dumps({**GOOD, "tracks": [{"phrase": "bear", "boxes": [[0.1, 0.2, 1.4, 0.8]] * 6}]})
    (tmp_path / "reply.txt").write_text(outside)
    said = []
    for _ in range(2):
        options = PlannerOptions(reply=str(tmp_path / "reply.txt"), cache=str(tmp_path / "c.jsonl"))
        planned = planner_named("paste", options).plan("a bear")
        said.append((planned.cached, planned.warnings))
    assert said[0] == (False, ("bear: 6 of 6 boxes cut to the frame",)) and said[1] == (True, said[0][1])
    entry = json.loads((tmp_path / "c.jsonl").read_text())
    del entry["warnings"]  # as earlier versions wrote it
    (tmp_path / "c.jsonl").write_text(json.dumps(entry) + "\n")
    (old,) = Cache(tmp_path / "c.jsonl").entries.values()
    assert old.warnings == () and old.story


def test_imported_replies_last_as_long_as_asked(tmp_path):
    kept = {"a bear": [TEXT], "a cat": [json.dumps({**GOOD, "seconds": 7})]}
    (tmp_path / "replies.json").write_text(json.dumps(kept))
    cache = str(tmp_path / "c.jsonl")
    with pytest.raises(SystemExit):
        main(["import", str(tmp_path / "replies.json"), "--model", "m", "--cache", cache])
    planner = planner_named("cached:m", PlannerOptions(seconds=4.0, cache=cache))
    assert isinstance(planner, ImportedReplies)
    assert planner.plan("a bear").scene.seconds == 4.0 and planner.plan("a cat").scene.seconds == 7.0


def test_the_offline_planner_imports_nothing_of_servers_and_replies():
    code = "import sys, animatic.planning.planners as p; p.plan('a cat'); print(*sys.modules)"
    modules = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "animatic.planning.rules" in modules
    assert not modules & {"openai", "httpx2", "json5", "animatic.planning.chat", "animatic.planning.answer_form"}


def test_what_falls_in_a_place_falls_there():
    """ "fall in" was read as one verb, of soldiers: the desert was a thing in a box, and the ball stood still."""
    scene = plan("A red ball falls in the desert")
    assert scene.background == "desert"
    (track,) = scene.tracks
    assert track.phrase == "red ball"
    assert track.boxes[-1][3] > track.boxes[0][3]


def test_what_runs_into_a_place_goes_there():
    """ "run into" was read as "meet" whatever followed: the forest was a thing in a box that the dog met."""
    scene = plan("A dog runs into the forest")
    assert scene.background == "forest"
    assert [track.phrase for track in scene.tracks] == ["dog"]

    met = plan("A dog runs into a cat")
    assert [track.phrase for track in met.tracks] == ["dog", "cat"]
