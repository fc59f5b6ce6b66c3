"""Progress: a bar on a terminal, now and then a line in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T], total: int, label: str, seconds: float = 10, stream: TextIO | None = None
) -> Iterator[T]:
    """Yield the items, telling how many are done: a bar where someone watches, else a line every so many seconds.

    Args:
        stream: for the lines; standard output if None.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, unit="image")
        return
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= seconds:
            last = now
            left = (now - start) / done * (total - done)
            print(
                f"{label}: {done}/{total} images, {done / (now - start):.1f} images/s, {left:.0f} s left",
                flush=True,
                file=stream,
            )
    print(f"{label}: {done} images in {time.monotonic() - start:.1f} s", flush=True, file=stream)
