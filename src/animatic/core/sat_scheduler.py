"""CogVideoX's stochastic solver on the noise levels of its first release (SAT), on which DiTCtrl was published."""

from __future__ import annotations

from typing import Any

from diffusers import CogVideoXDPMScheduler
from torch import Tensor


class CogVideoXSATDPMScheduler(CogVideoXDPMScheduler):
    """SDE-DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095) on the levels of `ZeroSNRDDPMDiscretization`.

    With zero terminal SNR (Lin et al. 2023, arXiv 2305.08891) diffusers stretches sqrt(alpha_bar) over the whole table
    of levels. SAT stretches it over the levels that are visited, so that the last of them keeps its own, and reads a
    prediction at the nearest level of the whole stretched table. Over 50 steps sqrt(alpha_bar) differs by up to 1e-3,
    over 10 by 6e-3. Without zero terminal SNR it is `CogVideoXDPMScheduler`.
    https://github.com/THUDM/CogVideo/blob/main/sat/sgm/modules/diffusionmodules/discretizer.py
    """

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """As diffusers does, with SAT's table of levels."""
        super().set_timesteps(num_inference_steps, device)
        config: Any = self.config
        if not config.rescale_betas_zero_snr:
            return

        # diffusers' class stretches its table on construction: read the table of one without zero terminal SNR
        plain: Any = CogVideoXDPMScheduler.from_config(dict(config), rescale_betas_zero_snr=False)
        signal = plain.alphas_cumprod.float().sqrt()
        visited = signal[self.timesteps[-1]]
        stretched = _stretched(signal, visited).clamp(max=1.0)
        self.alphas_cumprod = (stretched**2).double()
        self._table = _stretched(signal, signal[0])

    def step(
        self, model_output: Tensor, old_pred_original_sample: Any, timestep: Any, timestep_back: Any, sample: Tensor,
        *rest: Any, **more: Any,
    ) -> Any:  # fmt: skip
        """As diffusers does, on a prediction that is read at the nearest level of SAT's table."""
        config: Any = self.config
        if config.rescale_betas_zero_snr and config.prediction_type == "v_prediction":
            model_output = self._at_solver_level(model_output, int(timestep), sample)
        return super().step(
            model_output, old_pred_original_sample, timestep, timestep_back, sample, *rest, **more
        )  # fmt: skip

    def _at_solver_level(self, v: Tensor, timestep: int, sample: Tensor) -> Tensor:
        """The v that implies, at the solver's level, the clean sample that `v` implies at the table's nearest one."""
        level = self.alphas_cumprod[timestep].sqrt()
        distance = (self._table - level).abs()
        nearest = self._table[distance.argmin()]

        # x0 = signal x - noise v, and solved for v at the other level
        clean = nearest * sample - (1 - nearest**2).sqrt() * v
        noise = (1 - level**2).sqrt()
        implied = (level * sample - clean) / noise
        return implied.to(v.dtype)


def _stretched(signal: Tensor, first: Tensor) -> Tensor:
    """sqrt(alpha_bar) `[level]` made 0 at the last level, and kept where it is `first`."""
    last = signal[-1]
    scale = first / (first - last)
    return (signal - last) * scale
