"""Names of version 0.1 are still read: options of `animatic train`, the files of a run, and the cards of models."""

import json
import shutil
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import tiny
from conftest import distance
from test_fit import SMALL, weights

import animatic
from animatic.backbones import load
from animatic.cli import main
from animatic.cli.aliases import present_names, with_present_names
from animatic.errors import AnimaticError
from animatic.toy.curriculum import RENAMED as RENAMED_PLAN
from animatic.toy.curriculum import CurriculumConfig
from animatic.training.checkpoints import claim
from animatic.training.fit import fit
from animatic.training.settings import RENAMED, TrainingSettings

WEIGHTS = Path(animatic.__file__).parent / "weights"
VALUES = {  # of each renamed option, other than its default; by present name
    "min_noise": 0.25, "noise_augmentation": 0.0, "focus_present": 0.5, "cfg_dropout": 0.5, "batch_size": 1,
    "gradient_accumulation": 2, "learning_rate": 0.5, "warmup_steps": 7, "max_grad_norm": 3.0, "ema_decay": 0.5,
    "mixed_precision": "no", "keep_checkpoints": 5,
}  # fmt: skip
OLD_PLAN = {  # as version 0.1 wrote it for `animatic.toy.train_mini`
    "still_steps": 6000, "clip_steps": 50000, "stills": 48, "clips": 4, "stills_among_clips": 0.4, "rate": 0.001,
    "warmup": 300, "decay": 20000, "unconditional": 0.1, "boxless": 0.0, "placing": 0.1, "lean": 0.7,
    "average": 0.9995, "seed": 0, "export_every": 500,
}  # fmt: skip


def with_old_names(values: dict, renamed: dict[str, str]) -> dict:
    """The values as version 0.1 named them."""
    old = {present: name for name, present in renamed.items()}
    return {old.get(name, name): value for name, value in values.items()}


def test_every_old_name_stands_for_a_setting_of_today():
    names = {field.name for field in fields(TrainingSettings)}
    assert set(RENAMED.values()) <= names and not names & RENAMED.keys()


@pytest.mark.parametrize("old", present_names("train"))
def test_an_old_option_of_train_is_read_and_its_new_name_is_said(old, tmp_path, capsys):
    new = present_names("train")[old]
    name = new.removeprefix("--").replace("-", "_")
    small = "--data toy --frames 2 --size 16 --dim 8 --multiples 1,2 --steps 10 --text none".split()
    given = [*small, "--out", str(tmp_path / "o"), old, str(VALUES[name]), "--dry-run"]
    with pytest.raises(SystemExit) as end:
        main(["train", *given, "--json"])
    output, error = capsys.readouterr()
    assert not end.value.code and f"{old} is called {new} now" in error
    assert json.loads(output)["network"] == "SpaceTimeUNet"

    with pytest.raises(SystemExit):
        main(["train", *given])
    output, _ = capsys.readouterr()
    (row,) = (line for line in output.splitlines() if f" {name} " in line)
    assert f" {VALUES[name]} " in row


def test_names_and_values_with_an_equals_sign():
    assert with_present_names(["train", "--rate=1", "--data", "rate"]) == [
        "train",
        "--learning-rate=1",
        "--data",
        "rate",
    ]
    assert with_present_names(["make", "--rate=1"]) == ["make", "--rate=1"]
    assert with_present_names([]) == []


def test_an_old_run_is_resumed(tmp_path):
    """A run whose files have the old names goes on as one that was never renamed."""
    settings = SMALL.__class__(**{**asdict(SMALL), "steps": 2, "save_every": 1, "out": str(tmp_path / "o")})
    longer = SMALL.__class__(**{**asdict(settings), "steps": 3})
    fit(settings)
    shutil.copytree(tmp_path / "o", tmp_path / "new")

    file = tmp_path / "o" / "settings.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(with_old_names(stored, RENAMED)))
    assert "rate" in json.loads(file.read_text())
    fit(longer)
    assert "learning_rate" in json.loads(file.read_text())

    fit(SMALL.__class__(**{**asdict(longer), "out": str(tmp_path / "new")}))
    assert distance(weights(tmp_path / "o"), weights(tmp_path / "new")) == 0  # the same steps on one machine

    file.write_text(json.dumps({**with_old_names(stored, RENAMED), "rate": 0.5}))
    with pytest.raises(AnimaticError, match=r"learning_rate was 0\.5, now 0\.001"):
        fit(longer)


def test_an_old_plan_is_read(tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(OLD_PLAN))
    curriculum = CurriculumConfig(
        still_steps=6000, clip_steps=50000, decay=20000, box_dropout=0.0, timestep_exponent=0.7, ema_decay=0.9995
    )
    claim(file, asdict(curriculum), RENAMED_PLAN)
    assert json.loads(file.read_text()) == asdict(curriculum)

    file.write_text(json.dumps({**OLD_PLAN, "lean": 0.5}))
    with pytest.raises(AnimaticError, match=r"timestep_exponent was 0\.5, now 0\.7"):
        claim(file, asdict(curriculum), RENAMED_PLAN)
    assert set(RENAMED_PLAN.values()) <= {field.name for field in fields(CurriculumConfig)}


@pytest.mark.parametrize("name", ["mini", "interpolation", "mini-upscale"])
def test_an_old_card_is_read(name, tmp_path):
    folder = tmp_path / name
    if name == "interpolation":
        tiny.interpolation(folder)
    else:
        shutil.copytree(WEIGHTS / name, folder)
    file = folder / "animatic.json"
    card = json.loads(file.read_text())
    present = load(str(folder), "cpu")

    geometry = with_old_names(card.pop("geometry"), {"stride": "vae_spatial_ratio", "pace": "vae_temporal_ratio"})
    habits = with_old_names(card.pop("defaults"), {"ending": "prompt_suffix"})
    card = {**card, "geometry": geometry, "habits": habits}
    if "concat_conditioning" in card:
        card["beside"] = with_old_names(card.pop("concat_conditioning"), {"lack": "residual_std"})
    file.write_text(json.dumps(card))

    old = load(str(folder), "cpu")
    assert (old.geometry, old.defaults) == (present.geometry, present.defaults)
    assert old.concat_conditioning == present.concat_conditioning
