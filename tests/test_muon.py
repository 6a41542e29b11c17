"""The optimiser of the toy trainers: PyTorch's Muon, on weights of any shape."""

import pytest
import torch
from torch import nn

from animatic.toy.curriculum import CurriculumConfig
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
