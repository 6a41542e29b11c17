"""Memory stays flat: many renders in one process hold no more than a few."""

import gc

import psutil
import pytest

import animatic

WARM_UP, RENDERS, MOST_GROWTH = 20, 100, 0.02


@pytest.mark.slow("a hundred renders")
def test_a_hundred_renders_hold_no_more_than_twenty() -> None:
    model = animatic.load("mini", "cpu")
    scene = animatic.plan("A bear walks from the left to the right")
    process = psutil.Process()
    curve = []
    for seed in range(RENDERS):
        animatic.render(scene, model, "lvd", seed, steps=2)
        if seed + 1 >= WARM_UP and (seed + 1) % 10 == 0:
            gc.collect()
            curve.append(process.memory_info().rss)
    print([round(resident / 2**20, 1) for resident in curve], "MiB")
    assert max(curve) <= curve[0] * (1 + MOST_GROWTH)
