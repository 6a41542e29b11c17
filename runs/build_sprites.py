"""Cut the toy world's sprites out of Microsoft's Fluent 3D emoji (MIT).

npm pack @lobehub/fluent-emoji-3d && tar xzf lobehub-fluent-emoji-3d-*.tgz
python runs/build_sprites.py package/assets src/animatic/training/sprites
"""

import sys
from pathlib import Path

from PIL import Image, ImageOps

SIZE = 72  # twice the largest sprite the world draws at 64 pixels
CODEPOINTS = {
    "bear": "1f43b", "cat": "1f431", "dog": "1f436", "bird": "1f426", "fish": "1f41f", "turtle": "1f422",
    "car": "1f697", "boat": "26f5", "ball": "1f3d0", "balloon": "1f388", "star": "2b50", "book": "1f4d5",
    "cup": "1f964", "chair": "1fa91", "backpack": "1f392", "tree": "1f333", "house": "1f3e0", "flower": "1f337",
    "person": "1f9cd",
    "horse": "1f40e", "plane": "2708-fe0f", "train": "1f682", "bicycle": "1f6b2", "duck": "1f986", "sun": "2600-fe0f",
    "moon": "1f319", "cloud": "2601-fe0f", "cake": "1f382", "clock": "23f0", "apple": "1f34e", "umbrella": "2602-fe0f",
    "butterfly": "1f98b", "rabbit": "1f407", "rocket": "1f680",
}  # fmt: skip
TURNED = {"plane": 45, "rocket": 0}  # mirrored, then turned by so many degrees: what has a front faces left


def cut_out(file: Path, noun: str = "") -> Image.Image:
    """The drawn part of a picture as a square of `SIZE` pixels, with alpha."""
    picture = Image.open(file).convert("RGBA")
    if noun in TURNED:
        picture = ImageOps.mirror(picture).rotate(TURNED[noun], Image.Resampling.BICUBIC, expand=True)
    picture = picture.crop(picture.getchannel("A").point([0] * 41 + [255] * 215).getbbox())
    square = Image.new("RGBA", (max(picture.size), max(picture.size)))
    square.paste(picture, ((square.width - picture.width) // 2, (square.height - picture.height) // 2))
    return square.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def main(assets: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for noun, code in CODEPOINTS.items():
        cut_out(assets / f"{code}.webp", noun).save(out / f"{noun}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
