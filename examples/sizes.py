"""A benchmark of your own: `animatic bench generate examples/sizes.py --out runs/sizes`, then score and report it."""

from functools import partial
from itertools import permutations

from animatic.benchmarks.cases import Benchmark, Case, Layout, Rules, first_track


def larger(layout: Layout, rules: Rules, names: tuple[str, str]) -> bool:
    """Both are seen in every frame, and the first is the larger one in most."""
    one, two = (first_track(layout, name) for name in names)
    if one is None or two is None or None in (*one.boxes, *two.boxes):
        return False
    areas = [[(b[2] - b[0]) * (b[3] - b[1]) for b in t.boxes if b] for t in (one, two)]
    return sum(a > b for a, b in zip(*areas, strict=True)) > len(areas[0]) / 2


def cases() -> list[Case]:
    pairs = permutations(("car", "cat", "bird", "ball", "dog"), 2)
    return [Case("size", f"A big {a} and a small {b}", partial(larger, names=(a, b)), (a, b)) for a, b in pairs]


BENCHMARK = Benchmark("sizes", cases)
