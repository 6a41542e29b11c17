"""Takes in the studio: several seeds and values in one job, marks, the trash, projects as files. On a real server."""

import json
import socket
import zipfile
from io import BytesIO

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from test_studio import BEAR, QUICK, User

from animatic import Video
from animatic.generation import generate
from animatic.studio.api import Api
from animatic.studio.job_request import JobRequest
from animatic.studio.log import CANCELLED, DONE, Log
from animatic.studio.marks import Mark, Marks
from animatic.studio.server import serve
from animatic.studio.work import Limits, Studio


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    limits = Limits(takes=6, project=4_000_000, project_jobs=3)
    running = serve(
        Api(Studio(tmp_path_factory.mktemp("house") / "studio", limits=limits, models=("mini",))), port=port
    )
    yield running
    running.close()


@pytest.fixture(scope="module")
def user(server):
    return User(server.url)


@pytest.fixture(scope="module")
def bear(user):
    return user.ask("plan", prompt=BEAR)["story"]


def video_of(server, job: str, take: int) -> Video:
    return server.api.studio.log.video(job, take)


@pytest.fixture(scope="module")
def two(user, bear):
    """Seeds 5 and 6 of a scene under two methods."""
    job = user.ask("render", scene=bear, method="lvd", seed=5, takes=2, compare=["none"], **QUICK)
    return user.wait(job["id"])


def test_takes_are_the_single_renders_of_their_seeds(server, two):
    assert two["state"] == DONE, two["message"]
    assert [(f["method"], f["seed"]) for f in two["files"]] == [
        ("lvd", "5"), ("lvd", "6"), ("none", "5"), ("none", "6"),
    ]  # fmt: skip
    for take in range(4):
        made = video_of(server, two["id"], take)
        alone = generate(made.request, server.api.studio.models.load("mini"))
        assert np.abs(alone.frames.astype(int) - made.frames.astype(int)).max() <= 1
        assert made.request.sampling.seed == int(two["files"][take]["seed"])
    assert not np.array_equal(video_of(server, two["id"], 0).frames, video_of(server, two["id"], 1).frames)
    assert all(0 <= float(f["in_box"]) <= 1 for f in two["files"])


def test_a_row_of_values(server, user, bear):
    vary = {"name": "energy.scale", "values": [0, 60]}
    job = user.wait(user.ask("render", scene=bear, method="lvd", vary=vary, **QUICK)["id"])
    assert [f["setting"] for f in job["files"]] == ["energy.scale 0", "energy.scale 60"]
    assert [video_of(server, job["id"], i).request.settings["energy.scale"] for i in (0, 1)] == [0, 60]
    first, second = (video_of(server, job["id"], i).frames for i in (0, 1))
    assert not np.array_equal(first, second)
    guided = {"name": "guidance", "values": [1.0, 7.0]}
    job = user.wait(user.ask("render", scene=bear, method="none", vary=guided, **QUICK)["id"])
    assert [video_of(server, job["id"], i).request.sampling.guidance for i in (0, 1)] == [1.0, 7.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"takes": 7}, "takes is 7; at most 6 here"),
        ({"takes": 10**12}, "at most 6 here"),
        ({"takes": 4, "compare": ["none"]}, "makes 8 takes; at most 6 here"),
        ({"takes": 2, "seed": 2**63 - 1}, "seed is 9223372036854775807 with 2 takes"),
        ({"vary": {"name": "steps", "values": [2, 1000]}}, "steps is 1000; at most 200 here"),
        ({"vary": {"name": "steps", "values": ["few"]}}, "steps"),
        ({"vary": {"name": "no.such", "values": [1]}}, "no.such"),
        ({"vary": {"name": "guidance", "values": [1, 1]}}, "different values"),
        ({"vary": {"name": "guidance", "values": [[1]]}}, "different values"),
        ({"vary": {}}, "want"),
    ],
)
def test_what_cannot_be_is_one_line(user, bear, words, message):
    status, error = user.refused("render", scene=bear, method="lvd", **QUICK, **words)
    assert status == 400 and message in error and "\n" not in error


def test_more_like_a_take(server, user, two):
    job = user.wait(user.ask("more", id=two["id"], take=1, takes=2)["id"])
    assert [(f["method"], f["seed"]) for f in job["files"]] == [("lvd", "7"), ("lvd", "8")]
    vary = {"name": "steps", "values": [1, 2]}
    job = user.wait(user.ask("more", id=two["id"], take=3, vary=vary)["id"])
    assert [(f["method"], f["seed"], f["setting"]) for f in job["files"]] == [
        ("none", "6", "steps 1"), ("none", "6", "steps 2"),
    ]  # fmt: skip
    same = video_of(server, two["id"], 3).frames.astype(int) - video_of(server, job["id"], 1).frames.astype(int)
    assert np.abs(same).max() <= 1
    assert "4 takes" in user.refused("more", id=two["id"], take=9)[1]


def test_a_take_is_edited_with_its_own_seed_and_method(server, user, two):
    for take, method, seed in ((1, "lvd", 6), (2, "none", 5)):
        job = user.ask("edit", id=two["id"], swap={"bear": "cat"}, take=take)
        generation = job["request"]["generation"]
        assert (generation["method"], generation["sampling"]["seed"]) == (method, seed)
        user.ask("cancel", id=job["id"])
    status, said = user.refused("edit", id=two["id"], swap={"bear": "cat"}, take=4)
    assert status == 400 and "has 4 takes" in said


def test_what_is_done_stays_when_a_job_is_cancelled(user, bear):
    job = user.ask("render", scene=bear, method="lvd", takes=6, steps=8, frames=4)
    while not (status := user.ask("status", id=job["id"]))["files"]:
        assert status["state"] in ("waiting", "running")
    user.ask("cancel", id=job["id"])
    status = user.wait(job["id"])
    assert status["state"] == CANCELLED and 1 <= len(status["files"]) < 6
    assert user.http.get(status["files"][0]["mp4"]).status_code == 200


def test_marks(server, user, two):
    name = two["id"]
    assert two["marks"] == [{}, {}, {}, {}]
    user.ask("mark", id=name, take=0, pinned=True, favourite=True, note="the walk is slow")
    marks = user.ask("mark", id=name, take=2, pinned=True)["marks"]
    assert [m.get("pinned", False) for m in marks] == [False, False, True, False]
    assert marks[0]["favourite"] and marks[0]["note"] == "the walk is slow"
    assert [job["id"] for job in user.ask("gallery", favourites=True)["jobs"]] == [name]
    assert user.ask("gallery", search="walk slow")["count"] == 1
    again = Marks(server.api.studio.log.folder).of(name)  # as the next server reads them
    assert again[0] == Mark(favourite=True, note="the walk is slow") and again[2].pinned
    assert "at most" in user.refused("mark", id=name, note="x" * 3000)[1]
    hidden = user.ask("delete", id=name, take=2)
    assert user.ask("status", id=name)["marks"][2] == {
        "favourite": False, "pinned": False, "deleted": True, "note": "",
    }  # fmt: skip
    assert not user.ask("restore", **hidden)["marks"][2]["deleted"]


def test_damaged_marks_are_said_and_left_out(tmp_path):
    marks = Marks(tmp_path)
    for name, text in {"a": "{", "b": '{"version": 2, "takes": {}}', "c": '{"version": 1, "takes": {"0": 1}}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "marks.json").write_text(text)
        with pytest.warns(UserWarning, match="marks.json: is damaged"):
            assert marks.of(name) == {}


def test_the_trash(server, user, bear):
    user.ask("empty_trash")
    jobs = [user.wait(user.ask("render", scene=bear, method="none", seed=s, **QUICK)["id"])["id"] for s in (1, 2, 3)]
    names = [job["id"] for job in user.ask("gallery")["jobs"]]
    user.ask("delete", id=jobs[1])
    assert user.refused("status", id=jobs[1])[0] == 404 and user.ask("trash")["jobs"] == [jobs[1]]
    assert jobs[1] not in [record.id for record in Log(server.api.studio.log.folder).all()]
    assert user.ask("restore", id=jobs[1])["state"] == DONE
    assert [job["id"] for job in user.ask("gallery")["jobs"]] == names  # at its old place
    for name in ("../" + jobs[0], "nobody", "", "."):
        assert user.refused("restore", id=name)[0] == 404
    user.ask("delete", id=jobs[2])
    assert user.ask("empty_trash") == {"count": 1} and user.ask("trash")["jobs"] == []
    assert user.refused("restore", id=jobs[2])[0] == 404


def test_a_job_at_work_is_not_deleted(user, bear):
    job = user.ask("render", scene=bear, method="lvd", takes=4, **QUICK)["id"]
    assert "want it cancelled first" in user.refused("delete", id=job)[1]
    user.ask("cancel", id=job)
    user.wait(job)
    user.ask("delete", id=job)


def exported(user, *names) -> bytes:
    answer = user.http.get(f"/project/{','.join(names)}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return answer.content


def sent(user, data):
    return user.http.post("/project", content=data, headers={"content-type": "application/zip"})


def test_a_project_goes_out_and_in(server, user, two, tmp_path):
    user.ask("mark", id=two["id"], take=1, note="keep")
    data = exported(user, two["id"])
    with zipfile.ZipFile(BytesIO(data)) as archive:
        names = archive.namelist()
        request = json.loads(archive.read(f"{two['id']}/request.json"))
        assert {"project.json", f"{two['id']}/story.json"} <= set(names) and len(names) == len(set(names))
    assert request["sampling"]["seed"] == 5
    answer = sent(user, data)
    assert answer.status_code == 200, answer.text
    (name,) = answer.json()["jobs"]
    status = user.ask("status", id=name)
    assert name != two["id"] and status["state"] == DONE and status["marks"][1]["note"] == "keep"
    assert JobRequest.of(status["request"]) == JobRequest.of(two["request"])
    assert np.array_equal(video_of(server, name, 2).frames, video_of(server, two["id"], 2).frames)
    assert user.wait(user.ask("more", id=name, take=0, takes=1)["id"])["state"] == DONE


def test_attention_maps_go_out_and_in_with_a_project(user, bear):
    """Both kinds: the video of maps, and the file that the page lays over the first take."""
    made = user.wait(user.ask("render", scene=bear, method="none", steps=2, frames=2, attention=True)["id"])
    assert made["state"] == DONE, made["message"]
    data = exported(user, made["id"])
    (name,) = sent(user, data).json()["jobs"]
    status = user.ask("status", id=name)
    assert status["request"]["attention"] is True
    for kind in ("attention", "maps"):
        before, after = (user.http.get(job["files"][0][kind]) for job in (made, status))
        assert before.status_code == after.status_code == 200 and before.content == after.content
    assert user.http.get(status["files"][0]["maps"]).json()["words"] == ["bear"]

    # without the file that its record names the project is refused, whole
    def without_maps(members):
        del members[next(path for path in members if path.endswith(".maps.json"))]

    answer = sent(user, changed(data, without_maps))
    assert answer.status_code == 400 and "maps.json is missing" in answer.json()["error"]


def changed(data: bytes, change) -> bytes:
    """The archive with its members changed: `change` gets {name: content}."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_projects_of_strangers(server, user, two):
    data = exported(user, two["id"])
    folder = server.api.studio.log.folder
    before = sorted(path.name for path in folder.iterdir())

    def index(**changes):
        def change(members):
            project = json.loads(members["project.json"])
            project["jobs"][0].update(changes)
            members["project.json"] = json.dumps(project).encode()

        return change

    def video(content):
        def change(members):
            name = next(name for name in members if name.endswith(".mkv"))
            members[name] = content

        return change

    strange = {
        "no zip": b"hello",
        "cut": data[: len(data) // 2],
        "no index": changed(data, lambda m: m.pop("project.json")),
        "index": changed(data, lambda m: m.update({"project.json": b"[]"})),
        "newer": changed(data, lambda m: m.update({"project.json": b'{"version": 2, "jobs": []}'})),
        "path": changed(data, index(files=[{"method": "x", "mp4": "../../evil.mp4"}])),
        "suffix": changed(data, index(files=[{"method": "x", "mp4": "evil.html"}])),
        "no method": changed(data, index(files=[{"mp4": "1-lvd.mp4"}])),
        "id": changed(data, index(id="../x")),
        "action": changed(data, index(action="run")),
        "state": changed(data, index(state="waiting")),
        "request": changed(data, index(request={"generation": {}})),
        "marks": changed(data, index(marks={"version": 1, "takes": {"0": {"note": 1}}})),
        "missing": changed(data, lambda m: m.pop(f"{two['id']}/story.json")),
        "no video": changed(data, video(b"<script>alert(1)</script>")),
        "bomb": changed(data, video(bytes(5_000_000))),
    }
    for name, content in strange.items():
        answer = sent(user, content)
        assert answer.status_code in (400, 413), (name, answer.text)
        error = answer.json()["error"]
        assert "\n" not in error and str(folder) not in error, (name, error)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert sent(user, bytes(4_000_001)).status_code == 413
    blocks = (bytes(100_000) for _ in range(50))  # no length is announced
    assert sent(user, blocks).status_code == 413
    assert user.http.post("/project", content=data, headers={"content-type": "text/plain"}).status_code == 415
    assert user.http.get("/project/nobody").status_code == 404
    assert user.http.get(f"/project/{','.join([two['id']] * 4)}").status_code == 400
