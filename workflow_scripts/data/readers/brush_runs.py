"""Label Studio's brush: pixels as a stream of bits, as the package `rle-pack` of thi.ng/umbrella writes it.

The stream is of whole bytes, the highest bit first. It begins with the number of values (32 bits), the bits of a value
less 1 (5 bits), and four numbers of bits less 1 (4 bits each). Blocks follow: a bit that says whether one value is
repeated, which of the four numbers of bits the length has (2 bits), the length less 1, and the value or the values. Label
Studio has four values of 8 bits for each pixel, row by row: red, green, blue and opacity.
"""

import numpy as np

CHANNELS = 4
LENGTHS = (3, 4, 8, 16)  # bits of a length, as Label Studio has them
LONGEST = 1 << LENGTHS[-1]  # values of one block


def encode(mask: np.ndarray) -> bytes:
    """The stream of a mask bool (H, W): 255 in all four values inside, 0 outside."""
    flat = mask.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    bits = [f"{CHANNELS * flat.size:032b}", f"{8 - 1:05b}", *(f"{length - 1:04b}" for length in LENGTHS)]
    for end, length in zip(ends.tolist(), np.diff(ends, prepend=0).tolist(), strict=True):
        value, left = f"{255 * int(flat[end - 1]):08b}", CHANNELS * length
        while left:
            count = min(left, LONGEST)
            size = next(number for number, length in enumerate(LENGTHS) if count <= 1 << length)
            bits.append(f"1{size:02b}{count - 1:0{LENGTHS[size]}b}{value}")
            left -= count
    return np.packbits(np.frombuffer("".join(bits).encode(), np.uint8) - ord("0")).tobytes()


def decode(stream: bytes, size: tuple[int, int]) -> np.ndarray:
    """The mask bool (H, W) of a stream: what is opaque by half or more.

    Raises:
        ValueError: not such a stream, or of an image of another number of pixels.
    """
    bits, place = np.unpackbits(np.frombuffer(stream, np.uint8)), 0

    def read(width: int) -> int:
        nonlocal place
        first, end = place >> 3, place + width + 7 >> 3
        if end > len(stream):
            raise ValueError("it ends too early")
        place += width
        return int.from_bytes(stream[first:end], "big") >> 8 * end - place & (1 << width) - 1

    count, word = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    if count != CHANNELS * size[0] * size[1] or word != 8:
        raise ValueError(f"it has {count} values of {word} bits, its image {CHANNELS} of 8 bits for each pixel")
    values, done = np.zeros(count, np.uint8), 0
    while done < count:
        repeated, number = read(1), read(2)
        end = done + 1 + read(lengths[number])
        if end > count:
            raise ValueError("it has more values than pixels")
        if repeated:
            values[done:end] = read(8)
        else:
            wide = 8 * (end - done)
            if place + wide > len(bits):
                raise ValueError("it ends too early")
            values[done:end] = np.packbits(bits[place : place + wide])
            place += wide
        done = end
    return values.reshape(*size, CHANNELS)[..., -1] > 127
