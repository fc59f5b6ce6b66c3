"""Files from the network, by checksum: what arrives is what the configuration names, or nothing."""

import hashlib
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path

from workflow_scripts.artifacts import replaced
from workflow_scripts.errors import UserError

CHUNK = 1 << 20  # bytes
REPORTS = 20  # lines of progress


def download(url: str, sha256: str, path: str | Path) -> None:
    """Fetch a file whole or not at all.

    Args:
        url: http, https or file.
        sha256: of its content, hexadecimal.
        path: where it goes; nothing is left there unless the checksum is right.

    Raises:
        UserError: not to be reached, cut off, or of another checksum; says how to fetch it by hand.
    """
    by_hand = f"or fetch it by hand to {path} (sha256 {sha256})"
    if urllib.parse.urlsplit(url).scheme not in {"http", "https", "file"}:
        raise UserError(f"{url}: only http, https and file are fetched; name another url {by_hand}")
    digest, done = hashlib.sha256(), 0
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
            if digest.hexdigest() != sha256.lower():
                raise UserError(
                    f"{url}: has sha256 {digest.hexdigest()}, expected {sha256}; name the right url or checksum, {by_hand}"
                )
    except (OSError, ValueError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise UserError(f"{url}: cannot be fetched ({reason}); check the connection and run again, {by_hand}") from None
