"""The optimiser of the toy trainers: PyTorch's Muon, on weights of any shape."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from animatic.toy.curriculum import CurriculumConfig
from animatic.toy.train_decoder import new_codec
from animatic.toy.train_mini import MiniTrainer
from animatic.training.muon import FlatMuon


def test_a_convolution_is_updated_as_its_matrix() -> None:
    convolution, linear = nn.Conv2d(3, 4, 2), nn.Linear(5, 6)
    flat = FlatMuon([convolution.weight, linear.weight], 1e-2, 0.1)
    twins = [nn.Parameter(w.detach().flatten(1).clone()) for w in (convolution.weight, linear.weight)]
    muon = torch.optim.Muon(twins, 1e-2, 0.1, adjust_lr_fn="match_rms_adamw")

    for _ in range(3):
        for weight, twin in zip((convolution.weight, linear.weight), twins, strict=True):
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.flatten(1).clone()
        flat.step()
        muon.step()
        flat.zero_grad()
        assert convolution.weight.grad is None
    assert convolution.weight.shape == (4, 3, 2, 2)
    torch.testing.assert_close(convolution.weight.flatten(1), twins[0])
    torch.testing.assert_close(linear.weight, twins[1])


def test_a_weight_without_a_gradient_stays() -> None:
    used, unused = nn.Linear(3, 3), nn.Linear(3, 3)
    before = unused.weight.detach().clone()
    optimiser = FlatMuon([used.weight, unused.weight], 1e-2, 0.1)
    used.weight.grad = torch.ones_like(used.weight)
    optimiser.step()
    assert torch.equal(unused.weight, before)


def test_weights_that_get_other_memory_are_updated_there() -> None:
    """As where several processes share them: what was updated were the matrices of before, and the weights stood."""
    moved, stayed = nn.Conv2d(3, 4, 2), nn.Conv2d(3, 4, 2)
    stayed.load_state_dict(moved.state_dict())
    for convolution, moves in ((moved, True), (stayed, False)):
        optimiser = FlatMuon([convolution.weight], 1e-2, 0.1)
        for step in range(3):
            if moves:
                convolution.weight.data = convolution.weight.data.clone()
            convolution.weight.grad = torch.full_like(convolution.weight, step + 1.0)
            optimiser.step()
    torch.testing.assert_close(moved.weight, stayed.weight)


@pytest.mark.slow("two processes import, meet and train")
def test_two_processes_train_all_weights(tmp_path) -> None:
    new_codec().save_pretrained(tmp_path / "decoder" / "vae")
    toy = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    sizes = ["--stills", "2", "--clips", "1", "--clip-steps", "0", "--decay", "0", "--export-every", "0"]
    run = [*toy, "animatic.toy.train_mini", "--out", str(tmp_path), "--still-steps", "2", *sizes]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]

    trainer = MiniTrainer(CurriculumConfig(), tmp_path / "new")
    trained = load_file(tmp_path / "checkpoints" / "step-0000002" / "model.safetensors")
    for name, weight in trainer.train_module.named_parameters():
        is_inside = "resnets.0.conv1.weight" in name or "attn2.to_q.weight" in name
        if is_inside and "temp" not in name and "transformer_in" not in name:
            assert not torch.equal(trained[name], weight), name


def test_weights_that_cannot_be_viewed_as_a_matrix_are_refused() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    with pytest.raises(RuntimeError, match="view"):
        FlatMuon([weight], 1e-2, 0.0)


def test_each_weight_has_one_optimiser(tmp_path) -> None:
    trainer = MiniTrainer(CurriculumConfig(), tmp_path, inner="")
    parameters = list(trainer.train_module.parameters())
    adam, muon = trainer.optimisers(parameters)
    assert isinstance(muon, FlatMuon)
    in_adam = {id(p) for group in adam.param_groups for p in group["params"]}
    in_muon = set(map(id, muon.weights))
    assert in_adam.isdisjoint(in_muon) and in_adam | in_muon == set(map(id, parameters))

    # Words, embeddings of timesteps, and the first and last layers stay with AdamW.
    unet = trainer.model.unet
    outside = (unet.conv_in.weight, unet.conv_out.weight, unet.time_embedding.linear_1.weight)
    words = trainer.model.text.encoder.get_input_embeddings().weight
    assert in_adam.issuperset(map(id, (*outside, words)))
    assert id(unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_q.weight) in in_muon
