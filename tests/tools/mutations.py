"""Damage to files, as bad disks, broken copies and people make it: pure functions of bytes and a random generator."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random

MOST_CHANGES = 6
LONGEST = 1 << 16  # bytes that one change adds
NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
TOKEN = re.compile(rb"\w+|\s+|[^\w\s]")
WORDS = (
    *(b"NaN Infinity -Infinity 1e999 -1 0 99999999999999999999 0x1F 1_0 null true false [] {} [[[[ ]]]] {{ }} , : ; & * !! %".split()),
    *(b"../../x /etc/passwd con -rf ~ <<: *a &a [*a,*a] !!python/object:os.system !!binary !!timestamp !!float !!int".split()),
    *(b"2001-99-99 0o9 1:99 <!DOCTYPE &e; <!ENTITY <![CDATA[ ]]> <?xml &#0; &#xFFFFFFFF; \\u0000 \\ud800 \\x 1e-999 # ' \" ` |".split()),
    *(b"\0", b"\n", b"\r", b"\t", b"\x1b[2J", b"\xef\xbb\xbf", b"\xff\xfe", "\u202e".encode(), "\u00b2".encode(), b"\xed\xa0\x80"),
    *(b"9" * 400, b"a" * 5000, b"[" * 2000, b"<a>" * 1000, b",," * 500),
)  # fmt: skip

Mutate = Callable[[bytes, Sequence[bytes], Random], bytes]


def damaged(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """A few changes of bytes: bits, runs, lengths, and pieces cut off, taken out, repeated, moved or from other files."""
    for _ in range(_few(rng)):
        data = rng.choice(BYTES)(data, others, rng)
    return data


def reworded(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """A few changes of words, white space and marks of a text; now and then of its bytes."""
    if rng.random() < 0.2:
        return damaged(data, others, rng)
    tokens = TOKEN.findall(data)
    for _ in range(_few(rng)):
        place, way = rng.randrange(len(tokens) + 1), rng.randrange(6)
        end = min(len(tokens), place + rng.choice((1, 1, 1, 5, 50)))
        if way == 0:
            tokens[place : place + 1] = [rng.choice(WORDS)]
        elif way == 1:
            tokens[place:place] = [rng.choice(WORDS)]
        elif way == 2:
            del tokens[place:end]
        elif way == 3:
            tokens[place:place] = tokens[place:end] * rng.choice((1, 1, 1, 2, 500))
        elif way == 4 and tokens:
            tokens[place : place + 1] = [rng.choice(tokens)]
        else:
            found = TOKEN.findall(rng.choice(others))
            start = rng.randrange(len(found) + 1)
            tokens[place:place] = found[start : start + rng.randrange(1, 30)]
        del tokens[LONGEST:]
    return b"".join(tokens)


def of_png(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """As `damaged`; half of the time the checksums of a PNG are then made right again, so that what is behind is reached."""
    data = damaged(data, others, rng)
    if rng.random() < 0.5:
        return data
    place, fixed = 8, bytearray(data)
    while place + 12 <= len(fixed):
        size = int.from_bytes(fixed[place : place + 4], "big")
        end = place + 8 + size
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(fixed[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(fixed)


def of_zip(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """As `damaged`; half of the time what is damaged is one member, and the archive around it is sound."""
    if rng.random() < 0.5 or not zipfile.is_zipfile(io.BytesIO(data)):
        return damaged(data, others, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    members[name] = damaged(members[name], list(members.values()), rng)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def of_safetensors(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """As `damaged`; half of the time the JSON at the begin is reworded, and its length made right again."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.5:
        return damaged(data, others, rng)
    header = reworded(data[8 : 8 + size], others, rng)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def _few(rng: Random) -> int:
    return min(MOST_CHANGES, 1 + int(rng.expovariate(0.8)))


def _bits(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 9)):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _run(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    start, end = _piece(data, rng)
    byte = rng.choice((b"\0", b"\xff", None))
    return data[:start] + (byte * (end - start) if byte else rng.randbytes(end - start)) + data[end:]


def _cut(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _taken(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    start, end = _piece(data, rng)
    return data[:start] + data[end:]


def _repeated(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    start, end = _piece(data, rng)
    return data[:end] + (data[start:end] * rng.choice((1, 1, 2, 100)))[:LONGEST] + data[end:]


def _moved(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    start, end = _piece(data, rng)
    rest, place = data[:start] + data[end:], rng.randrange(len(data) + 1)
    return rest[:place] + data[start:end] + rest[place:]


def _spliced(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _length(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    number = rng.choice((*NUMBERS, len(data), len(data) - 1, len(data) + 1))
    place = rng.randrange(max(1, len(data) - size))
    return data[:place] + (number % (1 << 8 * size)).to_bytes(size, order) + data[place + size :]


def _piece(data: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 16, 64, 512)))


BYTES: tuple[Mutate, ...] = (_bits, _bits, _length, _length, _run, _cut, _taken, _repeated, _moved, _spliced)
