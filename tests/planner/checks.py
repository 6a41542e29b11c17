"""Whether a plan of the rules says what its prompt says: expectations as they stand in the JSON lines of this folder.

`count`: objects of a noun. `moves`: left, right, up, down or still, from the first box to the last. `size`, `visible`,
`ends`, `path`, `relation`, `between`, `overtakes`, `opposite`: as named below. `rising`: how many times one goes up.
`at`: the first is where the second stands, along x, all the time. `said`: words that must be reported as
not understood. `ahead`: the first is before the second in the direction of motion. `empty`: no objects. `refused`: an
error that holds these words, or any error where it is true.
"""

from itertools import pairwise

STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
FAR, NEAR = 0.15, 0.08  # of the frame: what counts as a motion, and as standing still


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def find(scene, noun):
    """Tracks whose phrase has the noun, or its plural, or these words."""
    phrases = [(track, track.phrase.lower()) for track in scene.tracks]
    return [t for t, phrase in phrases if noun in phrase.split() or f"{noun}s" in phrase.split() or noun in phrase]


def seen(track):
    return [box for box in track.boxes if box is not None]


def travel(track):
    (x0, y0), (x1, y1) = (centre(seen(track)[i]) for i in (0, -1))
    return x1 - x0, y1 - y0


def goes(track, way):
    dx, dy = travel(track)
    if way == "still":
        return abs(dx) < NEAR and abs(dy) < NEAR
    return all(dx * STEPS[word][0] + dy * STEPS[word][1] > FAR for word in way.split())


def directions(track):
    """Main directions of a path, each once in its turn: ["left", "up"]."""
    out = []
    for (x0, y0), (x1, y1) in pairwise(map(centre, seen(track))):
        dx, dy = x1 - x0, y1 - y0
        along = ("left" if dx < 0 else "right") if abs(dx) >= abs(dy) else ("up" if dy < 0 else "down")
        if max(abs(dx), abs(dy)) > 0.02 and out[-1:] != [along]:
            out.append(along)
    return out


def follows(track, path):
    places = [centre(box) for box in seen(track)]
    if isinstance(path, list):
        return directions(track) == path
    if path == "bounces":
        rises = [b[1] - a[1] for a, b in pairwise(places)]
        return any(a * b < 0 for a, b in pairwise(rises))
    xs, ys = zip(*places, strict=True)
    return abs(xs[0] - xs[-1]) < 0.25 and max(xs) - min(xs) > FAR and max(ys) - min(ys) > FAR  # a loop


def shows(track, half):
    middle = len(track.boxes) // 2
    first, last = ([box is not None for box in part] for part in (track.boxes[:middle], track.boxes[-middle:]))
    if half == "second half":
        return all(last) and not all(first)
    return any(first) and not last[-1]


def failures(scene, case):
    """What of a case does not hold in a scene, one line each; empty where all does."""
    bad = []
    for noun, number in case.get("count", {}).items():
        if (have := len(find(scene, noun))) != number:
            bad.append(f"{have} x {noun}; want {number}")
    if case.get("empty") and scene.tracks:
        bad.append(f"objects {[track.phrase for track in scene.tracks]}; want none")
    if bad:
        return bad
    for noun, way in case.get("moves", {}).items():
        bad += [f"{noun} moves {travel(t)}; want {way}" for t in find(scene, noun) if not goes(t, way)]
    for noun, change in case.get("size", {}).items():
        ratio = area(seen(find(scene, noun)[0])[-1]) / area(seen(find(scene, noun)[0])[0])
        if not (ratio > 1.3 if change == "grows" else ratio < 0.77):
            bad.append(f"{noun} becomes {ratio:.2f} times as large; it {change}")
    for noun, half in case.get("visible", {}).items():
        if not shows(find(scene, noun)[0], half):
            bad.append(f"{noun} is not visible in the {half} alone")
    for noun, place in case.get("ends", {}).items():
        x = centre(seen(find(scene, noun)[0])[-1])[0]
        if not (abs(x - 0.5) < FAR if place == "centre" else x > 0.75):
            bad.append(f"{noun} ends at x {x:.2f}; want {place}")
    for noun, path in case.get("path", {}).items():
        if not follows(find(scene, noun)[0], path):
            bad.append(f"{noun} goes {directions(find(scene, noun)[0])}; want {path}")
    if rising := case.get("rising"):
        ups = [dy < 0 for dy in _steps(find(scene, rising[0])[0])]
        leaps = sum(up and not before for before, up in pairwise([False, *ups]))
        bad += [] if leaps == rising[1] else [f"{rising[0]} rises {leaps} times; want {rising[1]}"]
    if at := case.get("at"):
        inner, outer = (seen(find(scene, noun)[0]) for noun in at)
        inside = all(b[0] < centre(a)[0] < b[2] for a, b in zip(inner, outer, strict=True))
        bad += [] if inside else [f"{at[0]} is not at the {at[1]}"]
    return bad + _relations(scene, case)


def _steps(track):
    """How much lower a track is at each key frame than at the one before."""
    return [b[1] - a[1] for a, b in pairwise(map(centre, seen(track)))]


def _relations(scene, case):
    bad = []
    if relation := case.get("relation"):
        (ax, ay), (bx, by) = (centre(seen(find(scene, noun)[0])[0]) for noun in relation[::2])
        holds = {"left of": ax < bx - 0.05, "right of": ax > bx + 0.05, "above": ay < by - 0.05}
        bad += [] if holds[relation[1]] else [f"not {' '.join(relation)}: {(ax, ay)} and {(bx, by)}"]
    if between := case.get("between"):
        x = centre(seen(find(scene, between[0])[0])[0])[0]
        xs = sorted(centre(seen(track)[0])[0] for track in find(scene, between[1]))
        bad += [] if xs[0] < x < xs[-1] else [f"{between[0]} is not between"]
    if overtakes := case.get("overtakes"):
        a, b = ([centre(box)[0] for box in seen(find(scene, noun)[0])] for noun in overtakes)
        bad += [] if a[0] < b[0] and a[-1] > b[-1] else [f"{overtakes[0]} does not overtake"]
    if ahead := case.get("ahead"):
        a, b = (find(scene, noun)[0] for noun in ahead)
        offsets = [centre(p)[0] - centre(q)[0] for p, q in zip(a.boxes, b.boxes, strict=True) if p and q]
        way = 1 if travel(a)[0] > 0 else -1
        bad += [] if all(way * offset > 0.05 for offset in offsets) else [f"{ahead[0]} is not ahead"]
    if noun := case.get("opposite"):
        ways = [travel(track)[0] for track in find(scene, noun)]
        bad += [] if min(ways) < -0.05 and max(ways) > 0.05 else [f"{noun} do not move against each other"]
    return bad
