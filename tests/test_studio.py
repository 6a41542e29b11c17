"""The studio: a real server on loopback, the bundled model at few steps, requests as anybody would send them."""

import base64
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")


import animatic
from animatic import Scene, Track, Video, load, render
from animatic.controls.watching import Progress, Stop, Stopped
from animatic.errors import AnimaticError
from animatic.methods import METHODS
from animatic.planning.planners import plan
from animatic.rendering import request_of
from animatic.scene import load_story
from animatic.studio.api import Api
from animatic.studio.job_request import JobRequest
from animatic.studio.log import CANCELLED, DONE, FAILED, RUNNING, WAITING, Log
from animatic.studio.server import serve
from animatic.studio.work import Limits, Studio

BEAR = "A bear walks from the left to the right"
QUICK = {"steps": 2, "frames": 2}


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class User:
    """Somebody who asks the server."""

    def __init__(self, url: str, **how):
        self.http = httpx.Client(base_url=url, timeout=120, **how)

    def ask(self, errand: str, **words) -> dict:
        answer = self.http.post(f"/api/{errand}", json=words)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, errand: str, **words) -> tuple[int, str]:
        answer = self.http.post(f"/api/{errand}", json=words)
        return answer.status_code, answer.json()["error"]

    def wait(self, job: str, *states: str, seconds: float = 120) -> dict:
        """The status once it is one of `states`, by default any of the ends."""
        end, status = time.monotonic() + seconds, {}
        while time.monotonic() < end:
            status = self.ask("status", id=job)
            if status["state"] in (states or (DONE, FAILED, CANCELLED)):
                return status
            time.sleep(0.02)
        raise AssertionError(f"{job} is still {status}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house") / "studio"
    running = serve(Api(Studio(folder, limits=Limits(waiting=10), models=("mini",))), port=port())
    yield running
    running.close()


@pytest.fixture(scope="module")
def user(server):
    return User(server.url)


@pytest.fixture(scope="module")
def bear(user):
    return user.ask("plan", prompt=BEAR)["story"]


# ---- settings and stopping, without a server


@pytest.fixture(scope="module")
def mini():
    return load("mini")


def test_stop_changes_nothing_until_it_is_wanted(mini):
    scene, seen = plan(BEAR), []

    def run(*watch):
        return render(scene, mini, "lvd", steps=2, frames=2, callbacks=watch).frames

    assert np.array_equal(run(), run(Stop(lambda: False)))  # the same passes
    asked = iter(range(10**6))
    with pytest.raises(Stopped):  # in the middle of a step, which guidance makes long
        run(Progress(lambda done, count: seen.append(done)), Stop(lambda: next(asked) > 60))
    assert seen == [0]


# ---- the API


def test_plan_render_status_files(user, bear):
    options = user.ask("options")
    assert options["models"].keys() == {"mini"} and options["methods"].keys() == METHODS.keys()
    job = user.ask(
        "render",
        scene=bear,
        method="lvd",
        seed=7,
        compare=["none"],
        attention=True,
        settings={"energy.scale": 20},
        **QUICK,
    )
    assert job["state"] in (WAITING, RUNNING)
    status = user.wait(job["id"])
    assert status["state"] == DONE and [f["method"] for f in status["files"]] == ["lvd", "none"]
    first, second = status["files"]
    facts = {"method", "seed", "in_box"}
    assert second.keys() == facts | {"json", "mp4", "gif", "mkv"}
    assert first.keys() == second.keys() | {"attention", "maps"}
    kinds = {"mp4": "video/mp4", "gif": "image/gif", "json": "application/json", "attention": "video/mp4"}
    kinds["maps"] = kinds["json"]
    for kind, link in first.items():
        if kind not in facts:
            got = user.http.get(link)
            assert got.status_code == 200 and len(got.content) > 400
            assert kind == "mkv" or got.headers["content-type"] == kinds[kind]
    part = user.http.get(first["mp4"], headers={"range": "bytes=0-99"})
    assert part.status_code == 206 and len(part.content) == 100
    assert user.ask("gallery", search="bear LVD")["jobs"][0]["id"] == job["id"]
    assert user.ask("gallery", search="submarine")["count"] == 0


def test_the_files_say_what_they_were_made_from(server, user, bear, tmp_path):
    job = user.ask("render", scene=bear, seed=3, settings={"energy.scale": 21}, **QUICK)
    made = user.wait(job["id"])["files"][0]
    (tmp_path / "x.mp4").write_bytes(user.http.get(made["mp4"]).content)
    info = Video.load(tmp_path / "x.mp4").info
    assert info["seed"] == 3 and info["method"] == "lvd" and "scale=21" in info["controls"] and info["prompt"] == BEAR
    (tmp_path / "x.json").write_bytes(user.http.get(made["json"]).content)
    assert load_story(tmp_path / "x.json") == (plan(BEAR),)


def test_a_story_is_rendered_in_a_row(user, bear):
    story = {"version": 1, "scenes": [bear, {**bear, "prompt": "A bear walks from the right to the left"}]}
    story["scenes"] = [{k: v for k, v in s.items() if k != "version"} for s in story["scenes"]]
    status = user.wait(user.ask("render", scene=story, method="none", steps=2)["id"])
    assert status["state"] == DONE and status["request"]["story"]["scenes"][1]["prompt"].endswith("left")


def test_what_was_made_is_finished_and_edited(server, user, bear, tmp_path):
    first = user.wait(user.ask("render", scene=bear, method="none", seed=3, steps=3, frames=4)["id"])
    done = user.wait(user.ask("finish", id=first["id"], then="motion:2,lanczos:2")["id"])
    assert done["state"] == DONE, done["message"]
    (version,) = done["files"]
    assert version["method"] == "none, then motion:2,lanczos:2"
    (tmp_path / "made.mkv").write_bytes(user.http.get(version["mkv"]).content)
    assert Video.load(tmp_path / "made.mkv").frames.shape == (7, 128, 128, 3)
    other = user.wait(user.ask("edit", id=first["id"], swap={"bear": "cat"}, weight={"cat": 1.5})["id"])
    assert other["state"] == DONE, other["message"]
    assert [v["method"] for v in other["files"]] == ["edited", "before"]
    assert other["request"]["story"]["scenes"][0]["prompt"] == "A cat walks from the left to the right"
    frames = []
    for version in (first["files"][0], *other["files"]):
        (tmp_path / "made.mkv").write_bytes(user.http.get(version["mkv"]).content)
        frames.append(Video.load(tmp_path / "made.mkv").frames)
    assert np.abs(frames[0].astype(int) - frames[2]).max() <= 2 and (frames[1] != frames[2]).any()
    listed = user.ask("gallery", search="cat")["jobs"][0]
    assert listed["id"] == other["id"]
    again = user.wait(user.ask("finish", id=other["id"], then="lanczos:2")["id"])
    assert again["state"] == DONE, again["message"]
    for words, message in (
        ({"then": "shrink:2"}, "unknown stage 'shrink'"),
        ({"then": "upscale:2:model=/etc"}, "unknown model '/etc'"),
        ({"then": "lanczos:99"}, "at most"),
        ({"then": "lanczos:2", "version": 7}, "has 1 videos"),
    ):
        code, said = user.refused("finish", **{"id": first["id"], **words})
        assert code == 400 and message in said
    for words, message in (
        ({"swap": {"dog": "cat"}}, "word 'dog' is not in the prompt"),
        ({}, "the edit changes nothing"),
    ):
        code, said = user.refused("edit", id=first["id"], **words)
        assert code == 400 and message in said


def test_gradios_client_plans_renders_and_cancels(server):
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(server.url, verbose=False)
    told = client.predict(prompt=BEAR, api_name="/plan")
    assert told["story"]["tracks"][0]["phrase"] == "bear"
    job = client.predict(scene=told["story"], steps=2, frames=1, api_name="/render")
    assert client.predict(id=job["id"], api_name="/status")["state"] in (WAITING, RUNNING, DONE)
    assert client.predict(id=job["id"], api_name="/cancel")["state"] in (WAITING, RUNNING, CANCELLED, DONE)
    with pytest.raises(AppError, match="prompt: Field required"):
        client.predict(scene={}, api_name="/render")


def test_a_pasted_reply_is_read(user):
    assert "bear" in user.ask("chat", prompt=BEAR)["text"]
    reply = json.dumps({"tracks": [{"phrase": "bear", "boxes": [[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 1.4, 0.9]]}]})
    told = user.ask("plan", prompt=BEAR, planner="paste", reply=reply)
    assert told["story"]["tracks"][0]["boxes"][0] == [0.1, 0.1, 0.4, 0.4] and "cut to the frame" in told["warnings"][0]
    assert user.refused("plan", prompt=BEAR, planner="paste", reply="no idea")[0] == 400


def test_cancelling_frees_the_worker_within_two_seconds(user, bear):
    long = user.ask("render", scene=bear, steps=200, frames=16)["id"]
    after = user.ask("render", scene=bear, method="none", steps=1, frames=1)["id"]
    waiting = user.ask("render", scene=bear, steps=200, frames=16)["id"]
    assert user.ask("cancel", id=waiting)["state"] == CANCELLED
    while not user.ask("status", id=long).get("done"):
        time.sleep(0.02)
    assert user.http.get(f"/preview/{long}").headers["content-type"] == "image/webp"
    began = time.monotonic()
    user.ask("cancel", id=long)
    assert user.wait(long)["state"] == CANCELLED
    assert time.monotonic() - began < 5  # 0.1 s on a machine that does nothing else
    alone = user.ask("render", scene=bear, method="lmd", steps=200, frames=4)["id"]
    user.wait(alone, RUNNING)
    time.sleep(0.5)  # in LMD's run of the bear alone
    began = time.monotonic()
    assert user.ask("cancel", id=alone)["state"] in (RUNNING, CANCELLED)
    assert user.wait(alone)["state"] == CANCELLED and time.monotonic() - began < 5
    assert user.wait(after)["state"] == DONE
    assert user.ask("cancel", id=long)["state"] == CANCELLED  # again changes nothing


def test_eight_users_at_once_are_served_in_order_and_apart(server, bear, tmp_path):
    held = User(server.url)
    first = held.ask("render", scene=bear, steps=200, frames=16)["id"]
    held.wait(first, RUNNING)

    def visit(i: int) -> tuple[int, str]:
        scene = {**bear, "background": f"user {i}"}
        return i, User(server.url).ask("render", scene=scene, method="none", seed=i, steps=1, frames=1)["id"]

    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(visit, range(8)))
    places = {job: held.ask("status", id=job)["place"] for _, job in jobs}
    assert sorted(places.values()) == list(range(1, 9))
    full = [held.http.post("/api/render", json={"scene": bear, **QUICK}) for _ in range(3)]
    assert [r.status_code for r in full] == [200, 200, 429] and "wait already" in full[2].text
    for answer in full[:2]:
        held.ask("cancel", id=answer.json()["id"])
    held.ask("cancel", id=first)
    ends = []
    while len(ends) < 8:
        ends += [j for _, j in jobs if j not in ends and held.ask("status", id=j)["state"] == DONE]
    order = sorted(places, key=lambda job: places[job])
    records = {r.id: r for r in server.api.studio.log.all()}
    finished = [(server.api.studio.log.folder / job / "1-none.mp4").stat().st_mtime_ns for job in order]
    assert finished == sorted(finished)
    for i, job in jobs:
        info = Video.load(server.api.studio.log.folder / job / "1-none.mp4").info
        assert (info["seed"], info["scene"]["background"]) == (i, f"user {i}") and records[job].state == DONE


def test_limits(user, bear):
    crowd = {**bear, "tracks": bear["tracks"] * 17}
    for words, message in (
        ({"scene": bear, "steps": 201}, "steps is 201; at most 200 here"),
        ({"scene": bear, "frames": 65}, "frames is 65; at most 64 here"),
        ({"scene": bear, "size": "4096x64"}, "size is 4096; at most 1024 here"),
        ({"scene": bear, "size": "60x64"}, "width is 60; this model takes multiples of 8"),
        ({"scene": bear, "frames": 33}, "frames is 33; this model takes 1 to 32"),
        ({"scene": crowd}, "17 tracks; at most 16 here"),
        ({"scene": {"scenes": [bear] * 9}}, "9 scenes; at most 8 here"),
        ({"scene": {**bear, "negative": "x" * 3000}}, "negative has 3000 letters"),
        ({"scene": bear, "compare": ["none", "lvd", "lmd"]}, "compare is 3; at most 2 here"),
        ({"scene": {**bear, "prompt": "a zebra", "tracks": [{**bear["tracks"][0], "phrase": "zebra"}]}}, "cannot show"),
    ):
        status, said = user.refused("render", **words)
        assert status == 400 and message in said


def test_large_and_strange_bodies(user, server):
    told = HTTPConnection(*server.url.removeprefix("http://").rstrip("/").split(":"))
    told.request("POST", "/api/check", headers={"content-length": str(100 * 2**20)})  # a hundred megabytes, it says
    assert told.getresponse().status == 413
    untold = user.http.post("/api/check", content=(b" " * 100_000 for _ in range(21)))
    assert untold.status_code == 413 and "over 2000000 bytes" in untold.json()["error"]
    film = Path(__file__).parent / "faults" / "clip.mp4"
    renamed = user.http.post("/api/check", content=film.read_bytes())
    assert renamed.status_code == 400 and renamed.json()["error"] == "the request is not JSON"


# ---- what must not get through


PATHS = (
    "/made/{job}/record.json", "/made/{job}/..%2f..%2fsecret.txt", "/made/{job}/../../secret.txt",
    "/made/..%2f/secret.txt",
    "/made/{job}/%2e%2e%2f%2e%2e%2fsecret.txt", "/made/x/secret.txt", "/preview/..%2fsecret.txt", "/preview/nobody",
    "/gradio_api/file={secret}", "/gradio_api/file/{secret}", "/file={secret}", "/gradio_api/proxy=http://127.0.0.1/",
    "/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/runs", "/gradio_api/vibe-code/", "/monitoring",
    "/static/../secret.txt", "/assets/x", "/theme.css", "/docs", "/openapi.json", "/login", "/%00", "/made/%00/%00",
    "/gradio_api/stream/x/y/1/playlist.m3u8", "/gradio_api/call/plan/nothing", "/api/nothing", "/api/__init__",
)  # fmt: skip
ODD = (None, True, -1, 0, 1.5, 2**70, "", " ", "x" * 5000, "\x00", [], [None], [[]], {}, {"a": {}}, "../../secret.txt")


def malformed(random: random.Random, scene: dict, job: str, secret: Path) -> httpx.Request:
    """A request that cannot be right, in one of many ways."""

    def post(path: str, data) -> httpx.Request:
        body = data if isinstance(data, bytes) else json.dumps(data)
        return httpx.Request("POST", "http://127.0.0.1" + path, content=body)

    def spoilt():
        bad = json.loads(json.dumps(scene))
        track = bad["tracks"][0]
        match random.randrange(8):
            case 0:
                bad[random.choice(["prompt", "tracks"])] = random.choice([None, 1, "", " ", {}, [1], {"a": 1}])
            case 1:
                name = random.choice(["background", "negative", "reasoning"])
                bad[name] = random.choice([None, 1, [], {}, "x" * 5000])
            case 2:
                bad["seconds"] = random.choice([-1, "x", None, [], 1e999])
            case 3:
                bad["version"] = random.choice([0, 2, "1.0", None, []])
            case 4:
                bad[f"field{random.random()}"] = 1
            case 5:
                track["boxes"] = random.choice([[], None, 1, "x", [1], [[0, 0, 1]], [[0, 0, 1, 2]], [[0.9, 0, 0.1, 1]]])
            case 6:
                track["phrase"] = random.choice([None, "", 3, [], "submarine", "x" * 3000])
            case _:
                return random.choice([[], 1, "x", None, {"scenes": []}, {"scenes": [1]}, {"scenes": [{}]}])
        return bad

    match random.randrange(9):
        case 0:
            return post("/api/plan", {"prompt": random.choice([None, 1, [], {}, "", "  ", "x" * 3000])})
        case 1:
            words = {"planner": "magic", "kind": "opera", "seconds": "long", "reply": 3, "prompts": "x", "seconds ": 1}
            name = random.choice(list(words))
            return post("/api/plan", {"prompt": BEAR, name: words[name]})
        case 2:
            return post(random.choice(["/api/check", "/api/render"]), {"scene": spoilt()})
        case 3:
            name, values = random.choice([
                ("model", [1, None, "maxi", "../..", str(secret)]), ("method", [1, None, "magic", "__init__"]),
                ("seed", [-1, 1.5, "1", None, 2**64, True]), ("steps", [0, -1, 1e9, "5", 201, []]),
                ("frames", [0, 65, 33, "x", {}]), ("size", ["64", "60x64", "0x0", "-8x8", "9999x9999", 64, "64x64\n"]),
                ("scheduler", ["warp", 1, "os", "__class__"]), ("attention", ["yes", 1, None]),
                ("settings", [{"a": 1}, [], {"energy.until": 2}, {"energy.scale": "x"}, {"energy.iterations": -1}]),
                ("compare", ["none", ["magic"], [1], ["none"] * 3]), ("unknown", [1]),
            ])  # fmt: skip
            return post("/api/render", {"scene": scene, name: random.choice(values)})
        case 4:
            return post(f"/api/{random.choice(['status', 'cancel'])}", {"id": random.choice(ODD)})
        case 5:
            words = random.choice([{"search": 1}, {"first": -1}, {"first": "0"}, {"search": None}, {"page": 1}])
            return post("/api/gallery", words)
        case 6:
            whole = json.dumps({"scene": scene}).encode()
            cut = whole[: random.randrange(1, len(whole))]
            body = random.choice([
                cut, random.randbytes(50), b"[1]", b'"x"', b'{"prompt": NaN}', b"[" * 90000, b'{"a":' * 90000,
                whole.decode().encode("utf-16"), b"\xff\xfe", b"null", b"--x\r\nContent-Disposition: form-data",
            ])  # fmt: skip
            return post(f"/api/{random.choice(['check', 'render', 'plan', 'status'])}", body)
        case 7:
            path = random.choice(PATHS).format(job=job, secret=secret)
            if random.random() < 0.5 and "call/plan" not in path:
                return post(path, {})
            return httpx.Request(random.choice(["GET", "HEAD", "PUT", "DELETE"]), "http://127.0.0.1" + path)
        case _:
            path, words = random.choice([
                ("call/nothing", {"data": []}), ("call/plan", {}), ("call/plan", {"data": 1}), ("call/v2/nothing", {}),
                ("queue/join", {"data": []}), ("queue/join", {"data": [], "fn_index": 99, "session_hash": "a"}),
                ("queue/join", {"data": [], "fn_index": "plan", "session_hash": "a"}), ("run/plan", {"data": [BEAR]}),
                ("queue/join", {"data": {}, "fn_index": 0, "session_hash": "a"}), ("upload", {"files": "x"}),
                ("component_server", {"data": []}), ("cancel", {}), ("call/plan", {"data": [], "session_hash": []}),
            ])  # fmt: skip
            return post(f"/gradio_api/{path}", words)


def test_three_hundred_malformed_requests(server, user, bear, capfd, tmp_path):
    """Each is refused in one line; nothing is made, nothing is given out, and the server goes on."""
    secret = server.api.studio.log.folder.parents[1] / "secret.txt"
    secret.write_text("TOP SECRET")
    job = user.wait(user.ask("render", scene=bear, method="none", steps=1, frames=1)["id"])["id"]
    house = server.api.studio.log.folder.parent
    before = sorted(str(p) for p in house.rglob("*"))
    chance = random.Random(9)
    for _ in range(300):
        request = malformed(chance, bear, job, secret)
        url = f"{server.url.rstrip('/')}{request.url.raw_path.decode()}"
        if request.url.path == "/gradio_api/call/plan/nothing" and request.method == "GET":
            continue  # Gradio answers this too in its stream
        kind = {"content-type": "application/json"}
        answer = user.http.request(request.method, url, content=request.read(), headers=kind)
        assert 400 <= answer.status_code < 500, (request.method, url, request.content[:300], answer.text[:300])
        assert b"SECRET" not in answer.content and b"Traceback" not in answer.content
        if request.method == "POST" and answer.headers.get("content-type") == "application/json":
            assert "\n" not in answer.json().get("error", "")
    assert sorted(str(p) for p in house.rglob("*")) == before
    for value in ("x" * 3000, None, 1):  # what Gradio takes in, it answers in its stream of events
        body = {"data": [value, "rules", "video", 2.0, ""]}
        event = user.http.post("/gradio_api/call/plan", json=body)
        said = user.http.get(f"/gradio_api/call/plan/{event.json()['event_id']}").text
        assert "event: error" in said and "Traceback" not in said
    assert user.ask("plan", prompt=BEAR)["story"]["prompt"] == BEAR
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err


def test_a_password_and_a_foreign_name_are_checked(server, bear):
    studio = server.api.studio
    locked = serve(Api(studio), port=port(), password="open sesame")
    try:
        for given, status in ((None, 401), ("wrong", 401), ("open sesame", 200)):
            answer = httpx.get(locked.url, auth=("anybody", given) if given else None)
            assert answer.status_code == status
        for header in ("Basic", "Basic ???", "Bearer " + base64.b64encode(b"a:open sesame").decode()):
            assert httpx.get(locked.url, headers={"authorization": header}).status_code == 401
        key = {"Authorization": "Basic " + base64.b64encode(b"a:open sesame").decode()}
        from gradio_client import Client

        assert Client(locked.url, headers=key, verbose=False).predict(prompt=BEAR, api_name="/plan")["story"]
    finally:
        locked.app.get_blocks().close(verbose=False)
    assert httpx.get(server.url, headers={"host": "evil.example"}).status_code == 403
    assert httpx.post(f"{server.url}api/options", headers={"origin": "http://evil.example"}).status_code == 403
    assert "default-src 'none'; script-src 'self'" in httpx.get(server.url).headers["content-security-policy"]
    with pytest.raises(AnimaticError, match="without a password"):
        serve(server.api, port=port(), public_url=True)
    with pytest.raises(AnimaticError, match="cannot be opened; want another --port"):
        serve(server.api, port=int(server.url.rstrip("/").rpartition(":")[2]))


@pytest.mark.slow("a process of its own loads everything before it answers")
def test_the_command_serves_until_it_is_interrupted(tmp_path):
    at = port()
    command = [sys.executable, "-m", "animatic", "studio", "--port", str(at), "--out", str(tmp_path / "log")]
    told, said = {**os.environ, "ANIMATIC_PASSWORD": "secret"}, tmp_path / "said"
    with (
        said.open("w") as file,
        subprocess.Popen(
            command, env=told, stdout=file, stderr=file,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # runners may ignore it
        ) as process,
    ):  # fmt: skip
        try:
            end = time.monotonic() + 120
            while f"http://127.0.0.1:{at}/" not in said.read_text() and time.monotonic() < end:
                time.sleep(0.1)
            assert httpx.get(f"http://127.0.0.1:{at}/").status_code == 401
            assert httpx.get(f"http://127.0.0.1:{at}/", auth=("", "secret")).status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert said.read_text().splitlines()[-1] == "error: interrupted; nothing was left half-written"


# ---- what lasts


def test_everything_survives_a_restart(tmp_path):
    scene = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))
    request = JobRequest(request_of((scene,), "mini", "none", 0, steps=1, frames=1)).to_dict()
    log = Log(tmp_path)
    ids = [log.add("render", request).id for _ in range(2)]
    log.change(ids[0], state=RUNNING)  # as a killed server leaves it
    (tmp_path / "20260101-000000-000000").mkdir()
    (tmp_path / "20260101-000000-000000" / "record.json").write_text("{")
    with pytest.warns(UserWarning, match="is damaged and was left out"):
        studio = Studio(tmp_path, models=("mini",))
    end = time.monotonic() + 60
    while studio.log.get(ids[1]).state != DONE and time.monotonic() < end:
        time.sleep(0.05)
    studio.close()
    with pytest.warns(UserWarning, match="damaged"):
        again = {r.id: r for r in Log(tmp_path).all()}
    assert again[ids[0]].state == FAILED and "stopped in the middle" in again[ids[0]].message
    assert again[ids[1]].state == DONE and (tmp_path / ids[1] / "1-none.mp4").exists()


def test_a_model_folder_that_is_gone_is_told_and_the_worker_goes_on(tmp_path, mini):
    folder = tmp_path / "model"
    shutil.copytree(Path(animatic.__file__).parent / "weights" / "mini", folder)
    studio = Studio(tmp_path / "log", ("mini", str(folder)))
    shutil.rmtree(folder)
    scene = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))
    try:
        ends = []
        for model in (str(folder), "mini"):
            record = studio.submit(
                "render", JobRequest(request_of((scene,), model, "none", 0, steps=1, frames=1)).to_dict()
            )
            while (state := studio.log.get(record.id)).state in (WAITING, RUNNING):
                time.sleep(0.05)
            ends.append((state.state, state.message))
    finally:
        studio.close()
    assert [state for state, _ in ends] == [FAILED, DONE] and str(folder) in ends[0][1]


def test_what_waits_is_kept_when_the_server_ends(tmp_path):
    studio = Studio(tmp_path, models=("mini",))
    scene = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))
    ids = [
        studio.submit("render", JobRequest(request_of((scene,), "mini", "lvd", 0, steps=200, frames=16)).to_dict()).id
        for _ in range(2)
    ]
    while studio.status(ids[0])["state"] == WAITING:
        time.sleep(0.02)
    studio.close()
    assert [Log(tmp_path).get(i).state for i in ids] == [WAITING, WAITING]
