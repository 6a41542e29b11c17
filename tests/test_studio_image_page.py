"""The first picture of a video on the studio's page: chosen, sent, kept with its job, taken out."""

import io
import json
import socket

import numpy as np
import pytest
import tiny
from conftest import needs_browser
from PIL import Image
from test_studio_page import browser  # noqa: F401 - a fixture

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from animatic.errors import AnimaticError
from animatic.scene import Scene, story_json
from animatic.studio.api import Api
from animatic.studio.server import serve
from animatic.studio.work import Studio

pytestmark = [pytest.mark.browser, needs_browser]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """(server, its API, the model's folder): a studio with a model that can begin with a picture."""
    root = tmp_path_factory.mktemp("house")
    folder = tiny.wan(root / "wan", each_token=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = Api(Studio(root / "studio", models=("mini", str(folder))))
    server = serve(api, port=port)
    yield server, api, str(folder)
    server.close()


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def page(browser, running):  # noqa: F811
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(running[0].url)
    page.wait_for_selector(".box")
    yield page
    assert errors == []
    context.close()


def chosen(page, name: str, content: bytes) -> None:
    page.set_input_files("#image", {"name": name, "mimeType": "image/png", "buffer": content})


def test_a_video_begins_with_the_picture(page, running):
    _, api, folder = running
    page.fill("#prompt", "a cat")  # the tiny text encoder reads few letters
    page.press("#prompt", "Enter")
    page.wait_for_selector("text=Planned: 1 x cat")
    page.select_option("#model", folder)
    page.select_option("#method", "none")
    for field, value in (("#steps", "2"), ("#frames", "9"), ("#size", "48x32")):
        page.fill(field, value)
    chosen(page, "first.png", png(48, 32))
    page.wait_for_selector("#image-preview:not([hidden])")
    page.click("#render")
    page.wait_for_selector("#result:not([hidden])", timeout=120_000)
    (job,) = api.gallery()["jobs"]
    digest = job["request"]["generation"]["image_digest"]
    assert len(digest) == 16

    # the opened job still has its picture, and is rendered with it again
    page.reload()
    page.wait_for_selector(".box")
    page.click("#to-gallery")
    page.click("#cards button:text('Open')")
    page.wait_for_selector("#image-kept:not([hidden])")
    page.click("#render")
    page.wait_for_selector("#progress", state="visible")
    page.wait_for_selector("#progress", state="hidden", timeout=120_000)
    newest = api.gallery()["jobs"][0]
    assert newest["id"] != job["id"] and newest["request"]["generation"]["image_digest"] == digest

    page.click("#image-remove")
    assert page.locator("#image-remove, #image-kept, #image-preview").filter(visible=True).count() == 0


def test_a_picture_that_is_too_large_is_made_smaller(page, running):
    large = png(1600, 900)
    assert len(large) > running[1].limits.body
    chosen(page, "large.png", large)
    page.wait_for_selector("text=large.png is sent as 1280x720 pixels.")
    sent = page.get_attribute("#image-preview", "src")
    assert sent.startswith("data:image/jpeg") and len(sent) < running[1].limits.body
    chosen(page, "words.png", b"no picture")
    page.wait_for_selector("text=words.png is no picture that this browser reads.")


def test_a_digest_that_is_not_kept_is_refused(running):
    _, api, folder = running
    scene = json.loads(story_json((Scene("a cat", seconds=1.0),)))
    with pytest.raises(AnimaticError, match="image 0123456789abcdef is not kept here; want the picture itself"):
        api.render({"version": 1, "scenes": [scene]}, model=folder, image="0123456789abcdef")
