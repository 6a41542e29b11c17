"""Textual inversion: files of diffusers and A1111, as diffusers' own pipelines read them."""

import pickle

import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file

import animatic
from animatic.backbones import load
from animatic.backbones.sdxl import POOLED
from animatic.backbones.textual_inversion import EmbeddingRequest, add_embedding, read_embedding
from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.request_files import check_paths
from animatic.scene import Scene, Track

SIZE = {"steps": 2, "guidance": 6.0, "size": (64, 64), "output_type": "latent"}
GENERATOR = torch.Generator().manual_seed(2)
ONE, THREE = torch.randn(tiny.WIDTH, generator=GENERATOR), torch.randn(3, tiny.WIDTH, generator=GENERATOR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.folder(tmp_path_factory.mktemp("ti") / "sd", tiny.unet2d())


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    return tiny.sdxl(tmp_path_factory.mktemp("ti") / "xl")


def of_a1111(vectors):
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": vectors},
        "name": "another",
        "step": 500,
        "sd_checkpoint": None,
    }


def written(path, kind):
    """Files of each kind, with the same three vectors; the word is the second."""
    if kind == "diffusers":
        file = path / "learned_embeds.safetensors"
        save_file({"<style>": THREE}, file)
        return file, "<style>"
    if kind == "diffusers bin":
        file = path / "learned_embeds.bin"
        torch.save({"<style>": THREE}, file)
        return file, "<style>"
    if kind == "a1111 safetensors":
        file = path / "styled.safetensors"
        save_file({"emb_params": THREE}, file)
        return file, "styled"
    file = path / "styled.pt"
    vectors = torch.nn.Parameter(THREE) if kind == "a1111" else THREE
    state = of_a1111(vectors)
    if kind == "first code":
        state = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": torch.nn.ParameterDict({"*": THREE})}
    torch.save(state, file)
    return file, "styled"


KINDS = ["diffusers", "diffusers bin", "a1111", "a1111 safetensors", "first code"]


def stock(pipe, prompt, noise):
    """What diffusers' own pipeline makes of the same noise."""
    pipe.set_progress_bar_config(disable=True)
    made = pipe(
        prompt=prompt, negative_prompt="red", latents=noise[:, :, 0], num_inference_steps=2, guidance_scale=6.0,
        output_type="latent", height=64, width=64,
    )  # fmt: skip
    return made[0]


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_those_of_diffusers(folder, tmp_path, kind):
    file, word = written(tmp_path, kind)
    scene = Scene(f"a cat as {word}, red", negative="red")
    model = load(str(folder))
    noise = model.noise([3], 1, 64, 64)
    made = animatic.render(scene, str(folder), "none", latents=noise, embeddings=[str(file)], **SIZE)

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    pipe.load_textual_inversion(THREE, token=word)
    assert close(made[:, :, 0], stock(pipe, scene.prompt, noise), RUN)
    assert not close(made, animatic.render(scene, str(folder), "none", latents=noise, **SIZE), RUN)


def test_two_words_and_where_they_are_in_a_prompt(folder, tmp_path):
    file, word = written(tmp_path, "diffusers")
    other = tmp_path / "toy.pt"
    torch.save(of_a1111(ONE[None]), other)
    model = load(str(folder))
    add_embedding(add_embedding(model, file), other, "toy")
    prompt = "a Toy and a toyota as <style>"
    text = model.text
    (toy,) = text.positions(prompt, "toy")
    style = text.positions(prompt, "<style>")
    assert style == (style[0], style[0] + 1, style[0] + 2) and toy < style[0]
    ids = text.token_ids(prompt)
    table = text.encoder.get_input_embeddings().weight
    assert torch.equal(table[[ids[i] for i in style]], THREE) and torch.equal(table[ids[toy]], ONE)
    assert ids.count(ids[toy]) == 1, "a part of another word is not the word"
    assert not any(p.requires_grad for p in text.parameters())
    assert model.embeddings == ((str(file.resolve()), word), (str(other.resolve()), "toy"))


def test_both_encoders_of_sdxl(xl, tmp_path):
    """As diffusers, where its configuration says which the end token is."""
    first, second = torch.randn(2, tiny.WIDTH), torch.randn(2, 8)
    file = tmp_path / "styled.safetensors"
    save_file({"clip_l": first, "clip_g": second}, file)
    scene = Scene("a cat as styled", (Track("styled", ((0, 0, 0.5, 0.5),)),), negative="red")
    noise = load(str(xl)).noise([3], 1, 64, 64)
    made = animatic.render(scene, str(xl), "none", latents=noise, embeddings=[str(file)], **SIZE)
    pipe = StableDiffusionXLPipeline.from_pretrained(xl)
    encoders = ((first, pipe.text_encoder, pipe.tokenizer), (second, pipe.text_encoder_2, pipe.tokenizer_2))
    for vectors, encoder, tokenizer in encoders:
        pipe.load_textual_inversion(vectors, token="styled", text_encoder=encoder, tokenizer=tokenizer)
    assert close(made[:, :, 0], stock(pipe, scene.prompt, noise), RUN)


def test_the_pooled_embedding_stays_at_the_end_token(xl, tmp_path):
    """Published configurations name an end token that is none; the highest id, an added word, was taken for it."""
    file = tmp_path / "styled.safetensors"
    save_file({"clip_l": torch.randn(1, tiny.WIDTH), "clip_g": torch.randn(1, 8)}, file)
    right = add_embedding(load(str(xl)), file)
    published = load(str(xl))
    for module in published.text.second.encoder.modules():
        if hasattr(module, "eos_token_id"):
            module.eos_token_id = 2
    add_embedding(published, file)
    pooled = [model.encode(["styled cat"], [""]).extra[POOLED] for model in (right, published)]
    assert close(*pooled)


def test_a_request_has_them_and_makes_the_same_again(folder, tmp_path):
    file, word = written(tmp_path, "a1111")
    options = {**SIZE, "output_type": "video"}
    made = animatic.render(Scene(f"a {word}"), str(folder), "none", embeddings=[f"{file}:<own>"], **options)
    assert made.request.embeddings == ((str(file.resolve()), "<own>"),)
    assert "+ <own>" in made.info["model"]
    again = animatic.generate(made.request)
    assert (again.frames == made.frames).all()
    file.unlink()
    with pytest.raises(AnimaticError, match=f"names the embedding {file.resolve()}, which is not there; want --embed"):
        check_paths(made.request, tmp_path / "made.mp4", allowed=[folder])


def test_on_the_command_line(folder, tmp_path):
    file, word = written(tmp_path, "diffusers")
    out = tmp_path / "made.png"
    asked = ["make", f"a {word}", "--model", str(folder), "--embedding", str(file), "--method", "none"]
    with pytest.raises(SystemExit) as done:
        main([*asked, "--steps", "1", "--size", "64x64", "--planner", "as-typed", "-o", str(out)])
    assert not done.value.code
    assert animatic.Video.load(out).request.embeddings == ((str(file.resolve()), word),)


def test_what_is_no_embedding_is_refused(folder, tmp_path):
    class Harmful:
        def __reduce__(self):
            return print, ("this file ran code",)

    harmful = tmp_path / "harmful.pt"
    harmful.write_bytes(pickle.dumps({"string_to_param": Harmful()}))
    with pytest.raises(AnimaticError, match=r"harmful\.pt: cannot be read"):
        read_embedding(harmful)
    with pytest.raises(AnimaticError, match="no such file; want an embedding"):
        read_embedding(tmp_path / "none.pt")
    lora = tmp_path / "lora.safetensors"
    save_file({"a.lora_A.weight": ONE, "a.lora_B.weight": ONE + 1}, lora)
    with pytest.raises(AnimaticError, match=r"holds a.lora_A.weight, a.lora_B.weight; want an embedding"):
        read_embedding(lora)
    flat = tmp_path / "flat.safetensors"
    save_file({"emb_params": torch.full((2, tiny.WIDTH), torch.nan)}, flat)
    with pytest.raises(AnimaticError, match=r"vectors are \[2, \d+\]; want finite numbers"):
        read_embedding(flat)


def test_what_does_not_fit_a_model_changes_nothing(folder, tmp_path):
    wide = tmp_path / "wide.safetensors"
    save_file({"emb_params": torch.randn(1, 768)}, wide)
    model = load(str(folder))
    before = len(model.text.tokenizer)
    with pytest.raises(AnimaticError, match=f"768 channels; the text of sd has {tiny.WIDTH}"):
        add_embedding(model, wide)
    known = tmp_path / "a.safetensors"
    save_file({"emb_params": ONE}, known)
    with pytest.raises(AnimaticError, match=f"the word 'a' is sd's already; want {known}:WORD"):
        add_embedding(model, known)
    with pytest.raises(AnimaticError, match="its word is 'two words'; want one without spaces"):
        add_embedding(model, known, "two words")
    assert len(model.text.tokenizer) == before and model.name == "sd" and not model.embeddings
    with pytest.raises(AnimaticError, match="sd3 takes no embeddings; want a model that reads with CLIP alone"):
        add_embedding(load(str(tiny.sd3(tmp_path / "sd3"))), known)
    with pytest.raises(AnimaticError, match="embeddings is given, and a model that is loaded already"):
        animatic.render(Scene("a cat"), model, "none", embeddings=[str(known)])


def test_a_word_after_a_colon(tmp_path):
    file = tmp_path / "toy.pt"
    file.touch()
    assert EmbeddingRequest.of(str(file)) == EmbeddingRequest(file)
    assert EmbeddingRequest.of(f"{file}:<own>") == EmbeddingRequest(file, "<own>")
