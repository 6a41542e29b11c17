"""What a request's text costs: the worst that its limits allow is read or refused in time, and keeps nobody waiting."""

import json
import threading
import time

import httpx
import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from test_odd_replies import HOSTILE
from test_strangers_files import SCENE
from test_studio_limits import free_port

from animatic.studio.api import Api
from animatic.studio.limits import Limits, value_count
from animatic.studio.server import serve
from animatic.studio.work import Studio

LIMITS = Limits()
SECONDS = 6.0  # CPU time that a request may take; the worst, a reply of boxes, took 2.3 on a busy machine
WAIT = 1.0  # CPU time of all threads together that may pass until another visitor has an answer


def filled(part: str, letters: int, end: str = "") -> str:
    """A text of so many letters that repeats a part."""
    return (part * (letters // len(part) + 1))[: letters - len(end)] + end


def reply(part: str) -> dict:
    """The longest within both limits, of letters and of values."""
    by_values = len(part) * (LIMITS.values - 50) // max(1, value_count(part.encode()))
    return {"prompt": "a bear", "planner": "paste", "reply": filled(part, min(LIMITS.reply, by_values), '"tracks"')}


def listed(value: object, most: int = LIMITS.values - 50) -> list:
    """So many of a value as a request may have."""
    return [value] * (most // (1 + value_count(json.dumps(value).encode())))


def scene(**fields: object) -> dict:
    return {"scene": {"prompt": "a bear", **fields}}


TRACK = {"phrase": "a bear", "boxes": [[0.1, 0.1, 0.6, 0.6]] * 2}
WITHIN = {
    **{f"a reply of {name}": ("plan", reply(text)) for name, text in HOSTILE.items()},
    "a reply of frames": ("plan", reply("Frame 1: [{'id': 0, 'name': 'a bear', 'box': [1, 2, 3, 4]}]\n")),
    "a reply of thoughts": ("plan", reply(f"<think>{'x ' * 14_000}</think>\nFrame 1: ")),
    "a reply of spaces": ("plan", reply(f"Frame 1:{' ' * 29_000}x")),
    "a reply of closing tags": ("plan", reply("</think>")),
    "a reply of escapes": ("plan", reply("{tracks: ( " + '\\"' * 14_000)),
    "a reply of objects": ("plan", reply("Objects: [('a bear', [10, 20, 200, 300]), ")),
    "a reply of boxes": ("plan", reply('{"tracks": [{"phrase": "a", "boxes": [' + "[0.1,0.1,0.6,0.6]," * 5000)),
    "a prompt of commas": ("plan", {"prompt": filled(",", LIMITS.letters)}),
    "a prompt of bears": ("plan", {"prompt": filled("a bear with a ", LIMITS.letters)}),
    "a prompt of relations": ("plan", {"prompt": filled("left of the bear on the ", LIMITS.letters)}),
    "a prompt far too long": ("plan", {"prompt": "a" * 1_900_000}),
    "a scene of tracks": ("check", scene(tracks=listed(TRACK))),
    "a scene of boxes": ("check", scene(tracks=[{"phrase": "a bear", "boxes": listed([0, 0, 1, 1])}])),
    "a story of scenes": ("check", {"scene": {"version": 1, "scenes": listed(SCENE)}}),
    "a scene of unknown fields": ("check", scene(**{f"x{i}": 1 for i in range(LIMITS.values - 50)})),
    "settings": ("render", {"scene": SCENE, "settings": {f"x{i}": 1 for i in range(LIMITS.values - 100)}}),
    "wrong settings": ("render", {"scene": SCENE, "settings": {f"x{i}": [] for i in range(LIMITS.values // 2 - 100)}}),
    "wrong methods": ("render", {"scene": SCENE, "compare": listed(1, LIMITS.values - 200)}),
    "LoRAs": ("render", {"scene": SCENE, "loras": listed("x", LIMITS.values - 200)}),
    "an image that is none": ("render", {"scene": SCENE, "image": "A" * 1_900_000}),
    "a size": ("render", {"scene": SCENE, "size": "1" * 1_900_000}),
    "finishing stages": ("render", {"scene": SCENE, "then": "lanczos:2;" * 190_000}),
    "a row of values": (
        "estimate",
        {"scene": SCENE, "vary": {"name": "scale", "values": listed(1, LIMITS.values - 200)}},
    ),
    "phrases": ("suggest", {"phrases": listed("a")}),
    "a search": ("gallery", {"search": "a " * 900_000}),
    "words": ("edit", {"id": "x", "swap": {f"x{i}": "y" for i in range(LIMITS.values - 50)}}),
    "jobs": ("put_in_folder", {"jobs": listed("x", 10_000)}),
    "unknown words": ("status", {f"x{i}": 1 for i in range(LIMITS.values - 50)}),
}
BEYOND = {
    "tracks": scene(tracks=[TRACK] * 10_000),
    "lists": scene(tracks=[[]] * 490_000),
    "objects": scene(tracks=[{}] * 490_000),
    "numbers": scene(tracks=[0] * 650_000),
    "deep lists": {"scene": [[[[0] * 5] * 10] * 10] * 120},
    "fields": {f"x{i}": 1 for i in range(100_000)},
    "wrong methods": {"scene": SCENE, "compare": [1] * 600_000},
}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    api = Api(Studio(tmp_path_factory.mktemp("texts") / "studio", models=("mini",)))
    server = serve(api, port=free_port())
    address = server.url.rstrip("/")

    # what the first request of all imports and loads is no text's
    with httpx.Client(base_url=address, timeout=60) as visitor:
        visitor.post("/api/options", json={})
        visitor.post("/api/plan", json={"prompt": "a bear walks to the left"})
        visitor.post("/api/estimate", json={"scene": SCENE})
    yield address
    server.close()


def sent(url: str, path: str, words: dict) -> tuple[httpx.Response, float, float]:
    """The answer, its CPU time, and the longest that another visitor waited meanwhile, in CPU time of the process.

    Of the process, not of the clock: other work on the machine is none of the text's.
    """
    waits: list[float] = []
    is_answered = threading.Event()

    def visit() -> None:
        with httpx.Client(base_url=url, timeout=60) as other:
            while not waits or not is_answered.is_set():
                began = time.process_time()
                assert other.get("/icon.svg").status_code == 200
                waits.append(time.process_time() - began)
                time.sleep(0.03)

    body = json.dumps(words)
    assert len(body) <= LIMITS.body
    other = threading.Thread(target=visit)
    other.start()
    began = time.process_time()
    try:
        answer = httpx.post(url + path, content=body, headers={"content-type": "application/json"}, timeout=120)
        took = time.process_time() - began
    finally:
        is_answered.set()
        other.join()
    return answer, took, max(waits)


@pytest.mark.parametrize("name", WITHIN)
def test_a_strangers_text_keeps_nobody_waiting(url, name):
    endpoint, words = WITHIN[name]
    answer, took, waited = sent(url, f"/api/{endpoint}", words)
    print(f"{name}: {answer.status_code}, {took:.2f} s, others wait {waited:.2f} s")
    assert answer.status_code in (200, 400, 404), answer.text[:200]
    if answer.status_code != 200:
        assert "\n" not in answer.json()["error"]
    assert took < SECONDS and waited < WAIT


@pytest.mark.parametrize("name", BEYOND)
def test_more_values_than_a_request_may_have_are_refused_before_they_are_read(url, name):
    answer, took, waited = sent(url, "/api/render", BEYOND[name])
    print(f"{name}: {took:.2f} s, others wait {waited:.2f} s")
    assert answer.status_code == 413 and f"at most {LIMITS.values} here" in answer.json()["error"]
    assert took < 0.5 and waited < 0.5


def test_the_largest_scene_of_the_other_limits_is_let_in(url):
    times = [i / (LIMITS.keys - 1) for i in range(LIMITS.keys)]
    track = {"phrase": "a bear", "boxes": [[0.1, 0.1, 0.6, 0.6]] * LIMITS.keys, "prompt": "a bear, brown"}
    whole = {"prompt": "a bear, a dog", "tracks": [track] * LIMITS.tracks, "times": times}
    words = {"scene": {"version": 2, "scenes": [whole] * LIMITS.scenes}}
    assert value_count(json.dumps(words).encode()) > 40_000
    answer, took, waited = sent(url, "/api/check", words)
    assert answer.status_code == 200, answer.text[:200]
    assert took < SECONDS and waited < WAIT


def test_gradios_own_clients_are_held_to_the_same(url):
    words = {"data": [{"prompt": "a bear", "tracks": [TRACK] * 10_000}]}
    answer, _, _ = sent(url, "/gradio_api/call/check", words)
    assert answer.status_code == 413


def test_a_reply_beyond_the_limit_is_refused_by_name(url):
    answer, took, _ = sent(url, "/api/plan", {"prompt": "a bear", "planner": "paste", "reply": "a " * 500_000})
    assert answer.json()["error"] == "reply has 1000000 letters; at most 30000 here" and took < 1
