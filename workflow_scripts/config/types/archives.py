"""Type of the archives of the settings: where one comes from, how it is known to be right, and what of it is unpacked."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from workflow_scripts.config.types.parts import Block

Checksum = Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64}|sha1:[0-9a-f]{40}|md5:[0-9a-f]{32})$")]


def _inside(member: str) -> str:
    path = PurePosixPath(member)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in member:
        raise ValueError(f"{member!r} is no path inside an archive: relative, without '..'")
    return str(path)


class Archive(Block):
    """A tar or zip; it is unpacked to data/unpacked/{name}."""

    url: str | None = Field(None, description="http, https or file; null where it cannot be fetched without a login")
    path: str | None = Field(None, description="a local copy, which is used instead of the url")
    checksum: Checksum | None = Field(
        None, description="sha256:, sha1: or md5: and hexadecimal; without one the archive is fetched and not used"
    )
    size: PositiveInt | None = Field(None, description="of the archive in bytes, where it is known")
    unpacked: PositiveInt = Field(description="bytes at most that its members may take")
    members: tuple[Annotated[str, AfterValidator(_inside)], ...] = Field(
        min_length=1, description="files and folders in it that are unpacked, nothing else is"
    )

    @model_validator(mode="after")
    def _one_place(self) -> "Archive":
        if self.url is None and self.path is None:
            raise ValueError("an archive has a url, or the path of a local copy")
        return self
