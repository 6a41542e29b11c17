"""Mutation fuzzing: good files are damaged in many ways; each is read, or refused with one line, in bounded time."""

import copy
import json
import random
import signal
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animatic.errors import AnimaticError

SECONDS = 10.0  # most of CPU time for one input
LINE = 1100  # most letters of a message

JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3.5, -0.0, 1e308, float("inf"), float("nan"), 10**12, 10**30, -(2**63)),
    *("", " ", "a", "0", "1e400", "\ud800", "\x1b[2J", "\0", "../../x", "/etc/passwd", "C:\\x", "~", ".", "x" * 10_000),
    *([], [[]], [None], [0, 0], ["a"], [1, 2, 3, 4], {}, {"a": 1}, {"": None}, [[[[[[[[]]]]]]]], ["a"] * 1000),
    *("(a+)+$", "(", "%s%n", "{0.__class__}", "__init__", "os", "posix.system", "<b>", "\u202e"),
)
TEXT_VALUES = (
    *("null", "true", "-1", "1e400", "NaN", "[]", "{}", '""', '"\\ud800"', '"\\u001b[2J"', "\0", "\n", "<!--", "]]>"),
    *("9" * 6000, "[" * 100_000, '{"a":' * 5000, '"' + "x" * 10_000 + '"', "<a>" * 3000, "&lt;" * 100, "1," * 1000),
)


class TooSlow(BaseException):
    """One input took longer than `SECONDS`."""


def mutated_text(data: bytes, rng: random.Random) -> bytes:
    """The text with one to three of its parts cut, doubled, exchanged, or replaced by a value of another kind."""
    text = data.decode("utf-8", "surrogateescape")
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.randint(0, 12))
        letter = chr(rng.randrange(0x20, 0x3000))
        piece = rng.choice(("", text[start:end] * 2, letter, rng.choice(TEXT_VALUES)))
        text = text[:start] + piece + text[end:]
    return text.encode("utf-8", "surrogateescape")


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four of: a bit turned, a run cut, doubled or exchanged, the rest cut, a huge number."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        # Half of the changes are in the first 200 bytes, where headers are.
        most = len(changed) if rng.random() < 0.5 else min(len(changed), 200)
        start = rng.randrange(most + 1)
        length = rng.choice((1, 2, 4, 8, 16, 64))
        kind = rng.randrange(6)
        if kind == 0 and start < len(changed):
            changed[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[start : start + length]
        elif kind == 2:
            changed[start:start] = changed[start : start + length]
        elif kind == 3:
            changed[start : start + length] = rng.randbytes(length)
        elif kind == 4 and rng.random() < 0.3:
            del changed[start:]
        else:
            changed[start : start + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
    return bytes(changed)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def mutated_value(value: Any, rng: random.Random) -> Any:
    """A JSON value with one to three parts replaced by odd values, left out, doubled or renamed."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(list(_places(value)))
        if not path:
            if rng.random() < 0.1:
                value = copy.deepcopy(rng.choice(JSON_VALUES))
            continue

        # The container of the chosen part, and the part's key or number in it.
        *above, last = path
        inner = value
        for key in above:
            inner = inner[key]
        kind = rng.randrange(6)
        if kind == 0:
            del inner[last]
        elif kind == 1 and isinstance(inner, list):
            inner.insert(last, copy.deepcopy(inner[last]))
        elif kind == 1:
            inner[str(rng.choice(("", "x", f"{last}.x", str(last).upper())))] = inner.pop(last)
        else:
            inner[last] = copy.deepcopy(rng.choice(JSON_VALUES))
    return value


def mutated_json(data: bytes, rng: random.Random) -> bytes:
    """A JSON file changed in its values, or one time in three in its text."""
    if rng.random() < 1 / 3:
        return mutated_text(data, rng)
    return json.dumps(mutated_value(json.loads(data), rng)).encode()


def mutated_safetensors(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file changed in its header's values (the lengths agree), its tensors' numbers, or any bytes.

    https://huggingface.co/docs/safetensors: 8 bytes of the header's length, JSON, the numbers.
    """
    if rng.random() < 1 / 3:
        return mutated_bytes(data, rng)
    (length,) = struct.unpack("<Q", data[:8])
    header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]

    # Names and shapes alone: what libraries refuse at once would hide what comes after.
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    kind = rng.randrange(7)
    if kind == 0:
        header = mutated_value(header, rng)
    elif kind == 1:
        header[rng.choice((name[: rng.randrange(len(name))], name.replace(".", ""), name + ".x"))] = header.pop(name)
    elif kind == 2:
        shape = header[name]["shape"]
        header[name]["shape"] = rng.choice((shape[::-1], [*shape, 1], [1, *shape], [_product(shape)], [0]))
    elif kind == 3:
        header[name]["dtype"] = rng.choice(("F64", "F16", "I32", "I8", "BOOL", "U8", "F8_E4M3", "BF16", "I64", "C64"))
    elif kind == 4:
        size = len(numbers) // 4 * 4
        place = 4 * rng.randrange(size // 4)
        numbers = numbers[:place] + struct.pack("<f", rng.choice((float("nan"), 1e38, 0.0))) + numbers[place + 4 :]
    elif kind == 5:
        other = rng.choice(names)
        header[name], header[other] = header[other], header[name]
    else:
        own = header.get("__metadata__") or {"format": "pt"}
        key = rng.choice(list(own))
        try:
            own[key] = json.dumps(mutated_value(json.loads(own[key]), rng))
        except ValueError:
            own[key] = rng.choice(TEXT_VALUES)
        header["__metadata__"] = own
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def mutated_png(data: bytes, rng: random.Random) -> bytes:
    """A PNG changed in its chunks, whose lengths and checksums agree, or one time in three in any bytes.

    https://www.w3.org/TR/png-3/#5Chunk-layout: a signature; chunks of length, kind, data, checksum. Decoders refuse a
    wrong checksum at once, which would hide what they do with a wrong header, palette or compressed row.
    """
    if rng.random() < 1 / 3:
        return mutated_bytes(data, rng)
    signature, place, chunks = data[:8], 8, []
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length

    # One to three chunks: left out, doubled, moved, of another kind, or with changed data.
    for _ in range(rng.randint(1, 3)):
        number = rng.randrange(len(chunks))
        kind, content = chunks[number]
        change = rng.randrange(8)
        if change == 0 and len(chunks) > 1:
            del chunks[number]
        elif change == 1:
            chunks.insert(rng.randrange(len(chunks)), chunks[number])
        elif change == 2:
            other = rng.choice(
                (b"IHDR", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"iTXt", b"eXIf")
            )
            chunks[number] = (other, content)
        elif change < 6 and kind == b"IDAT":
            rows = mutated_bytes(_inflated(content), rng)  # the rows of pixels with the kinds of their filters
            chunks[number] = (kind, zlib.compress(rows))
        else:
            chunks[number] = (kind, mutated_bytes(content, rng))
    return signature + b"".join(_png_chunk(kind, content) for kind, content in chunks)


def _inflated(content: bytes) -> bytes:
    """What compressed data hold, as far as they can be read."""
    try:
        return zlib.decompressobj().decompress(content, 2**20)
    except zlib.error:
        return content


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _product(shape: list[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


@dataclass(frozen=True)
class Kind:
    """A kind of file: `make(folder)` writes a good one and returns its path, `read(path)` reads it.

    `mutate` changes its bytes. `many` are the inputs of the long test, `few` those of the suite.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    mutate: Callable[[bytes, random.Random], bytes]
    few: int = 40
    many: int = 10_000


@dataclass
class Outcome:
    """What became of the mutated files of a kind.

    `seconds` are of the clock, `slowest` is CPU time of one input. `failures` are (number of the input, error).
    """

    tried: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` in the main thread after so much CPU time, where the system has such alarms."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TooSlow(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def input_of(kind: Kind, good: bytes, seed: int, number: int) -> bytes:
    """The mutated file of this number, which depends on nothing else."""
    return kind.mutate(good, random.Random(f"{seed}:{number}"))


def fuzz(kind: Kind, folder: Path, count: int, seed: int, budget: float = float("inf")) -> Outcome:
    """Read `count` mutated files, or as many as `budget` seconds allow; the good one first, which must be read."""
    file = kind.make(folder)
    kind.read(file)
    good = file.read_bytes()
    outcome = Outcome()
    began = time.monotonic()
    for number in range(count):
        if time.monotonic() - began > budget:
            break
        file.write_bytes(input_of(kind, good, seed, number))
        outcome.tried += 1
        start = time.process_time()
        try:
            with warnings.catch_warnings(), time_limit(SECONDS):
                warnings.simplefilter("ignore")
                kind.read(file)
        except AnimaticError as error:
            outcome.refused += 1
            text = str(error)
            if "\n" in text or len(text) > LINE or not text:
                outcome.failures.append((number, f"no single line: {text[:200]!r}"))
        except (Exception, TooSlow) as error:  # whatever it is, it is a finding
            outcome.failures.append((number, f"{type(error).__name__}: {str(error)[:200]}"))
        outcome.slowest = max(outcome.slowest, time.process_time() - start)
    outcome.seconds = time.monotonic() - began
    file.write_bytes(good)
    return outcome
