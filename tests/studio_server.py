"""What tests of a studio's server share: a server, its visitors, and jobs that are waited for or held up."""

import json
import socket
import time

import httpx
import pytest

from animatic import Scene, Track
from animatic.studio.api import Api
from animatic.studio.jobs import Job
from animatic.studio.limits import Limits
from animatic.studio.log import DONE, RUNNING, WAITING
from animatic.studio.server import Running, serve
from animatic.studio.work import Studio

PASSWORD = "open sesame"
SCENE = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))
RENDER = {"scene": json.loads(SCENE.to_json()), "method": "none", "steps": 1, "frames": 1}
PATIENCE = 120  # seconds that a job of one step may take on a busy machine
LONG = 10  # steps: a job of more is there to be at work while something else is tested


def served(folder, limits: Limits, loras=(), **options) -> Running:
    """A studio's server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return serve(Api(Studio(folder, limits=limits, loras=loras, models=("mini",))), port=port, **options)


def visitor(server: Running, password: str = PASSWORD, **options) -> httpx.Client:
    """A browser of somebody who knows the password."""
    return httpx.Client(base_url=server.url, auth=("anybody", password), timeout=30, **options)


def ask(client: httpx.Client, endpoint: str, **words) -> dict:
    """The answer of an endpoint, which is to be no refusal."""
    answer = client.post(f"/api/{endpoint}", json=words)
    assert answer.status_code == 200, answer.text
    return answer.json()


def done(client: httpx.Client, job: str) -> dict:
    """The status of a job once it is done."""
    end = time.monotonic() + PATIENCE
    while (status := ask(client, "status", id=job))["state"] in (WAITING, RUNNING):
        assert time.monotonic() < end, status
        time.sleep(0.02)
    assert status["state"] == DONE, status["message"]
    return status


def rendered(client: httpx.Client, **words) -> dict:
    """The status of a job of one step and one frame, which is done."""
    return done(client, ask(client, "render", **RENDER, **words)["id"])


@pytest.fixture
def slow_steps(monkeypatch) -> None:
    """Long jobs wait after each step until they are stopped, and leave the processor to what is tested."""
    show = Job.show

    def shown(job: Job, *given) -> None:
        show(job, *given)
        if job.count > LONG:
            job.stop.wait(0.5)

    monkeypatch.setattr(Job, "show", shown)
