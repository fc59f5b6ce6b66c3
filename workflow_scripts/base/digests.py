"""The digest of a file, for planning and for sidecars alike."""

import hashlib
from pathlib import Path


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
