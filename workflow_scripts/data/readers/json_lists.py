"""The long lists of a JSON file, element by element: files of half a gigabyte in little memory."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from workflow_scripts.base.errors import UserError

CHUNK = 1 << 22  # characters
LARGEST = 1 << 26  # characters of one element
LARGEST_NUMBER = 1e18
OF_NUMBERS = re.compile("[0-9.eE+-]*")  # a number that is followed by these alone may go on in the next block


def read_lists(path: Path, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield (key, element) of the lists that the object of a JSON file holds under these keys, in the file's order.

    Raises:
        UserError: missing, not JSON, no object, one of the keys is missing or holds no list.
    """
    yield from _scanned(path, lambda scanner: scanner.lists(keys))


def read_items(path: Path) -> Iterator[Any]:
    """Yield the elements of the list that a JSON file is.

    Raises:
        UserError: missing, not JSON, no list.
    """
    yield from _scanned(path, lambda scanner: scanner.items())


def is_list(path: Path) -> bool:
    """Whether a JSON file is a list; of one that is none or not there, nothing is found out."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read(CHUNK).lstrip().startswith("[")
    except (OSError, UnicodeDecodeError):
        return False


def _scanned(path: Path, read: Callable[["_Scanner"], Iterator]) -> Iterator:
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from read(_Scanner(file, path))
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; restore it, or set its path in the config") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); copy or download it again") from None


def is_number(value: Any) -> bool:
    """Whether an element is a number that a float can hold; JSON's may have hundreds of digits, NaN and infinities."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


class _Scanner:
    def __init__(self, file: TextIO, path: Path):
        self.file, self.path = file, path
        self.text, self.place, self.before = "", 0, 0
        self.decoder = json.JSONDecoder()

    def lists(self, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        if self._next() != "{":
            raise UserError(f"{self.path}: holds no JSON object; expected the keys {', '.join(keys)}")
        missing = set(keys)
        for _ in self._separated("{", "}"):
            key = self._value()
            self._take(":")
            if key in missing and self._next() != "[":
                raise UserError(f"{self.path}: {key!r} is no list; name another file, or export it again")
            missing.discard(key)
            if self._next() != "[":
                self._value()
                continue
            for _ in self._separated("[", "]"):
                element = self._value()
                if key in keys:
                    yield key, element
        if self._next():
            raise self._broken("more text after its end")
        for key in keys:
            if key in missing:
                raise UserError(f"{self.path}: has no {key!r}; name another file, or export it again")

    def items(self) -> Iterator[Any]:
        if self._next() != "[":
            raise UserError(f"{self.path}: holds no JSON list; name another file, or export it again")
        for _ in self._separated("[", "]"):
            yield self._value()
        if self._next():
            raise self._broken("more text after its end")

    def _separated(self, opening: str, closing: str) -> Iterator[None]:
        """Step through what stands between brackets, parted by commas; the caller takes each part."""
        self._take(opening)
        if self._next() == closing:
            self._take(closing)
            return
        while True:
            yield
            if self._next() == closing:
                self._take(closing)
                return
            self._take(",")

    def _next(self) -> str:
        """The next character that is no white space, which stays; nothing at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in " \t\r\n":
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self._more():
                return ""

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise self._broken(f"expected {character!r}")
        self.place += 1

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.place)
            except RecursionError:
                raise self._broken("nested too deep") from None
            except ValueError as error:
                if len(self.text) - self.place > LARGEST or not self._more():
                    raise self._broken(str(error).partition(":")[0].lower()) from None
                continue
            may_go_on = isinstance(value, int | float) and OF_NUMBERS.fullmatch(self.text, end) is not None
            if not may_go_on or not self._more():
                self.place = end
                return value

    def _more(self) -> bool:
        chunk = self.file.read(CHUNK)
        if not chunk:
            return False
        self.before += self.place
        self.text, self.place = self.text[self.place :] + chunk, 0
        return True

    def _broken(self, reason: str) -> UserError:
        where = self.before + self.place
        return UserError(f"{self.path}: broken JSON near character {where} ({reason}); copy or download it again")
