"""LoRAs in the studio: sent by a visitor, requested with a strength, seen by nobody else; and the memory they take."""

import os

import numpy as np
import pytest
import torch
from conftest import needs_browser
from safetensors.torch import save, save_file
from test_studio_page import browser  # noqa: F401 - a fixture

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from studio_server import PASSWORD, RENDER, ask, done, rendered, served, visitor

import animatic
from animatic.errors import AnimaticError
from animatic.request import GenerationRequest
from animatic.studio.limits import Limits
from animatic.studio.log import Refused
from animatic.studio.loras import Loras, shown_name
from animatic.studio.models import Models

LIMITS = Limits(lora=60_000, loras=2)


def lora_of_mini(size=1.0):
    """A LoRA of rank 4 for one layer of `mini`, whose update is of that size."""
    network = animatic.load("mini").unet
    name = next(name for name, _ in network.named_modules() if name.endswith("attn2.to_out.0"))
    weight = network.get_submodule(name).weight
    generator = torch.Generator().manual_seed(0)
    return {
        f"unet.{name}.lora_A.weight": size * torch.randn(4, weight.shape[1], generator=generator),
        f"unet.{name}.lora_B.weight": torch.randn(weight.shape[0], 4, generator=generator),
    }


@pytest.fixture(scope="module")
def lora():
    return save(lora_of_mini())


def sent(client, content, name="hat.safetensors"):
    return client.post(
        "/lora", params={"name": name}, content=content, headers={"content-type": "application/octet-stream"}
    )


def refused(answer, status=400):
    assert answer.status_code == status, answer.text
    (message,) = answer.json().values()
    assert "\n" not in message
    return message


def frames(server, status):
    """The frames of a job's video, as they were generated."""
    (log,) = [each.log for each in server.api.studio.studios.values() if (each.log.folder / status["id"]).exists()]
    return log.video(status["id"], 0).frames.astype(int)


@pytest.fixture(scope="module")
def house(tmp_path_factory, lora):
    """(server, Anna, Bob, the name of Anna's LoRA)"""
    server = served(tmp_path_factory.mktemp("loras") / "studio", LIMITS, password=PASSWORD)
    with visitor(server) as anna, visitor(server) as bob:
        answer = sent(anna, lora)
        assert answer.status_code == 200, answer.text
        (kept,) = answer.json()["loras"]
        yield server, anna, bob, kept["name"]
    server.close()


def test_a_lora_is_sent_and_rendered_at_each_strength(house):
    server, anna, _, name = house
    assert [each["name"] for each in ask(anna, "options")["loras"]] == [name]
    plain, off, full, half = (
        frames(server, rendered(anna, loras=loras)) for loras in ([], [f"{name}:0"], [name], [f"{name}:-0.5"])
    )
    assert np.abs(off - plain).max() <= 1
    assert np.abs(full - plain).max() > 1 and np.abs(half - plain).max() > 1 and np.abs(half - full).max() > 1
    made = ask(anna, "gallery")["jobs"][0]["request"]["generation"]
    assert made["loras"] == [[name, -0.5, ""]], "the record has the name, not a path of the server"
    # what follows on a job has its LoRA too, also of a video, whose file names the server's
    job = ask(anna, "gallery")["jobs"][0]["id"]
    for endpoint, words in (("finish", {"then": "lanczos:2"}), ("edit", {"prompt": "A cat"}), ("more", {"take": 0})):
        done(anna, ask(anna, endpoint, id=job, **words)["id"])
    assert ask(anna, "estimate", **RENDER, loras=[f"{name}:0.35"])["reason"] == ""


def test_it_is_of_its_visitor_alone(house):
    _, anna, bob, name = house
    assert ask(bob, "options")["loras"] == ask(bob, "loras")["loras"] == []
    message = refused(bob.post("/api/render", json={**RENDER, "loras": [name]}))
    assert message == f"unknown LoRA {name!r}; known here: none"
    assert "unknown LoRA" in ask(bob, "estimate", **RENDER, loras=[name])["reason"]
    refused(bob.post("/api/delete_lora", json={"name": name}), 404)
    assert [each["name"] for each in ask(anna, "loras")["loras"]] == [name]


def test_a_request_names_no_path(house):
    server, anna, _, name = house
    (file,) = server.api.studio.log.folder.glob("visitors/*/loras/*.safetensors")
    assert file.stem == name
    for path in (str(file), f"{file}:0.5", "/etc/passwd", "/etc/passwd:x", f"../{name}", f"{name}/../{name}"):
        assert "unknown LoRA" in refused(anna.post("/api/render", json={**RENDER, "loras": [path]}))


@pytest.mark.parametrize("scale", ["2.1", "-3", "nan", "inf", "x", "1e"])
def test_a_strength_has_limits(house, scale):
    _, anna, _, name = house
    message = refused(anna.post("/api/render", json={**RENDER, "loras": [f"{name}:{scale}"]}))
    assert "scale is" in message and "want" in message


def test_what_is_no_lora_of_a_model_here_is_refused(house):
    server, anna, _, name = house
    wide = {key: torch.ones(4, 7) if "lora_A" in key else value for key, value in lora_of_mini().items()}
    assert "hat: cannot be read" in refused(sent(anna, b"no safetensors at all"))
    assert "hat: no LoRA in it" in refused(sent(anna, save({"weight": torch.ones(2, 2)})))
    assert "does not fit" in refused(sent(anna, save(wide)))
    assert "not finite" in refused(sent(anna, save(lora_of_mini(float("nan")))))
    assert "want a LoRA in .safetensors" in refused(sent(anna, save(lora_of_mini()), "hat.ckpt"))
    assert "want application/octet-stream" in refused(
        anna.post("/lora", content=b"x", headers={"content-type": "application/zip"}), 415
    )
    (folder,) = server.api.studio.log.folder.glob("visitors/*/loras")
    assert sorted(os.listdir(folder)) == [f"{name}.json", f"{name}.safetensors"], "nothing of them is kept"


def test_too_large_and_too_many(house):
    _, anna, _, name = house
    of_no_announced_length = iter([bytes(40_000)] * 2)
    assert refused(sent(anna, bytes(60_001)), 413) == "the request is over 60000 bytes"
    assert refused(sent(anna, of_no_announced_length), 413) == "the file is over 60000 bytes"
    second = sent(anna, save(lora_of_mini(0.5)), "second.safetensors").json()["loras"]
    assert "the most" in refused(sent(anna, save(lora_of_mini(0.25))), 413)
    (other,) = [each["name"] for each in second if each["name"] != name]
    assert [each["name"] for each in ask(anna, "delete_lora", name=other)["loras"]] == [name]


def test_all_of_a_visitor_have_a_most_of_bytes(tmp_path, lora):
    models = Models(["mini"])
    mine = Loras(tmp_path, (), Limits(lora_bytes=len(lora) + 10))
    for content, matches in ((lora, ""), (save(lora_of_mini(0.5)), f"would be {2 * len(lora)} bytes; at most")):
        (tmp_path / "sent").write_bytes(content)
        with (tmp_path / "sent").open("rb") as file:
            if matches:
                with pytest.raises(Refused, match=matches):
                    mine.keep(file, "a.safetensors", models.names, models.outline)
            else:
                mine.keep(file, "a.safetensors", models.names, models.outline)
    assert len(mine.all()) == 1


def test_a_restart_keeps_it_and_a_deleted_one_is_gone(tmp_path, lora):
    server = served(tmp_path / "studio", LIMITS, password=PASSWORD)
    with visitor(server) as anna:
        (kept,) = sent(anna, lora).json()["loras"]
        cookies = dict(anna.cookies)
    server.close()
    again = served(tmp_path / "studio", LIMITS, password=PASSWORD)
    try:
        with visitor(again, cookies=cookies) as anna:
            assert ask(anna, "loras")["loras"] == [kept] and kept["label"] == "hat"
            rendered(anna, loras=[kept["name"]])
            assert ask(anna, "delete_lora", name=kept["name"]) == {"loras": []}
            assert "unknown LoRA" in refused(anna.post("/api/render", json={**RENDER, "loras": [kept["name"]]}))
            assert not list((tmp_path / "studio").glob("visitors/*/loras/*"))
    finally:
        again.close()


def test_names_are_shown_without_folders_and_control_characters():
    assert shown_name("../../a/hat.safetensors") == shown_name("C:\\a\\hat.SAFETENSORS") == "hat"
    assert shown_name("h\x00a\nt\u202e.safetensors") == "hat" and len(shown_name("a" * 999 + ".safetensors")) == 80
    for name in ("", ".safetensors", "hat", "hat.safetensors.exe"):
        with pytest.raises(Refused, match=r"want a LoRA in \.safetensors"):
            shown_name(name)


# ---- of the start


def test_a_lora_of_the_start_has_the_scale_of_the_start(tmp_path):
    file = tmp_path / "hat.safetensors"
    save_file(lora_of_mini(), file)
    loras = Loras(tmp_path / "studio", [f"{file}:2.5:transformer_2", f"{file}:0.3:transformer"], Limits())
    first, second = loras.all()
    assert (first.scale, first.network, second.scale, second.network) == (2.5, "transformer_2", 0.3, "transformer")
    assert loras.requested([str(file), f"{file}:transformer", f"{file}:-2.5:transformer_2"]) == (
        (str(file), 2.5, "transformer_2"), (str(file), 0.3, "transformer"), (str(file), -2.5, "transformer_2"),
    )  # fmt: skip
    with pytest.raises(Refused, match=r"want -2\.5 to 2\.5 here"):
        loras.requested([f"{file}:2.6"])
    with pytest.raises(AnimaticError, match="scale is nan"):
        Loras(tmp_path, [f"{file}:nan"], Limits())


def test_of_models_with_loras_the_last_one_stays(tmp_path):
    file = tmp_path / "hat.safetensors"
    save_file(lora_of_mini(), file)
    models, loras = Models(["mini"]), Loras(tmp_path / "studio", [str(file)], Limits())

    def request(*scales):
        return GenerationRequest((), "mini", tuple((str(file), scale, "") for scale in scales))

    plain = models.load("mini")
    before = models.of(request(0.5), loras)
    assert models.of(request(0.5), loras) is models.loaded(request(0.5), loras) is before is not plain
    last = before
    for scale in np.linspace(-1, 1, 9):
        last = models.of(request(float(scale)), loras)
    assert models.loaded(request(0.5), loras) is None and models.loaded(request(1.0), loras) is last
    assert models.of(request(), loras) is models.load("mini") is plain
    assert len(models._plain) == len(models._with_loras) == 1


# ---- the page


@pytest.mark.browser
@needs_browser
def test_the_page_sends_one_and_sets_its_strength(browser, tmp_path, lora):  # noqa: F811
    server = served(tmp_path / "studio", LIMITS)
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.goto(server.url)
        page.wait_for_selector(".box")
        page.click("#loras summary")
        assert page.locator(".lora").count() == 0
        page.set_input_files("#lora-file", {"name": "words.safetensors", "mimeType": "", "buffer": b"no LoRA"})
        page.wait_for_selector("text=words: cannot be read")
        page.set_input_files("#lora-file", {"name": "<i>hat.safetensors", "mimeType": "", "buffer": lora})
        page.wait_for_selector("text=Read <i>hat.safetensors.")

        # by the keyboard: ticked, made weaker by two steps, rendered
        box, strength = page.locator(".lora input[type=checkbox]"), page.locator(".lora input[type=number]")
        assert page.inner_text(".lora label") == "<i>hat" and strength.is_disabled()
        box.press("Space")
        assert strength.input_value() == "1"
        strength.press("ArrowDown")
        strength.press("ArrowDown")
        assert strength.input_value() == "0.9"
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
        assert [each["id"] for each in axe.Axe().run(page).response["violations"]] == []
        for field, value in (("#steps", "1"), ("#frames", "1")):
            page.fill(field, value)
        page.select_option("#method", "none")
        page.click("#render")
        page.wait_for_selector("#result:not([hidden])", timeout=120_000)
        (job,) = server.api.gallery()["jobs"]
        ((name, scale, _),) = job["request"]["generation"]["loras"]
        assert scale == 0.9

        # an opened job has it; one that was deleted is said
        page.reload()
        page.wait_for_selector(".box")
        page.click("#to-gallery")
        page.click("#cards button:text('Open')")
        page.wait_for_selector(".lora input:checked", state="attached")
        assert strength.input_value() == "0.9"
        page.click("#loras summary")
        page.locator(".lora button").press("Enter")
        page.wait_for_selector(".lora", state="detached")
        page.click("#to-gallery")
        page.click("#cards button:text('Open')")
        page.wait_for_selector(f"text=No longer here: {name}.")
        assert errors == []
    finally:
        context.close()
        server.close()
