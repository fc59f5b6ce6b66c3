"""Files from the network, by checksum: what arrives is what the configuration names, or nothing."""

import hashlib
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.store.artifacts import replaced

CHUNK = 1 << 20  # bytes
REPORTS = 20  # lines of progress


def parse_checksum(checksum: str) -> tuple[str, str]:
    """Algorithm and lower-case digest of "sha256:...", "sha1:..." or "md5:..."; a bare one is sha256."""
    algorithm, _, digest = checksum.rpartition(":")
    return algorithm or "sha256", digest.lower()


def pinned(checksum: str | None, path: str | Path, key: str) -> str:
    """The checksum that the configuration has under `key`; where it has none, the file is refused with its own."""
    if checksum is None:
        raise UserError(
            f"{path}: the configuration has no checksum for it, so that it is not used; if you trust where it is from, set "
            f"{key} to sha256:{_digest(path, 'sha256')} and run again"
        )
    return checksum


def check(path: str | Path, checksum: str) -> None:
    """Refuse a file that is missing or not what a checksum, as `parse_checksum` reads it, says."""
    algorithm, expected = parse_checksum(checksum)
    found = _digest(path, algorithm)
    if found != expected:
        raise UserError(
            f"{path}: has {algorithm} {found}, expected {expected}; delete it and run again, or copy it anew"
        )


def _digest(path: str | Path, algorithm: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; copy it there, or name where it is in the config") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None


def download(url: str, checksum: str | None, path: str | Path) -> None:
    """Fetch a file whole or not at all.

    Args:
        url: http, https or file.
        checksum: of its content, as `parse_checksum` reads it; None where the caller checks what has arrived.
        path: where it goes; nothing is left there unless the checksum is right.

    Raises:
        UserError: not to be reached, cut off, or of another checksum; says how to fetch it by hand.
    """
    algorithm, expected = parse_checksum(checksum or "")
    by_hand = f"or fetch it by hand to {path}" + (f" ({algorithm} {expected})" if checksum else "")
    if urllib.parse.urlsplit(url).scheme not in {"http", "https", "file"}:
        raise UserError(f"{url}: only http, https and file are fetched; name another url {by_hand}")
    digest, done = hashlib.new(algorithm, usedforsecurity=False), 0
    try:
        with urllib.request.urlopen(url, timeout=60) as source, replaced(path) as temporary:
            total = int(source.headers.get("Content-Length") or 0)
            with open(temporary, "wb") as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    digest.update(chunk)
                    before, done = done, done + len(chunk)
                    if total and done * REPORTS // total > before * REPORTS // total:
                        print(f"{done >> 20} of {total >> 20} MiB", flush=True)
            if total and done < total:
                raise UserError(f"{url}: ended after {done} of {total} bytes; run again, {by_hand}")
            if checksum and digest.hexdigest() != expected:
                raise UserError(
                    f"{url}: has {algorithm} {digest.hexdigest()}, expected {expected}; name the right url or checksum, {by_hand}"
                )
    except (OSError, ValueError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise UserError(f"{url}: cannot be fetched ({reason}); check the connection and run again, {by_hand}") from None
