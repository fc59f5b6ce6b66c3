"""Where the initial weights of a network come from: by name, from a file, from the network, or from a trained classifier."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.parts import AnyBackbone, Block, Held, Name, Sections, nearest


class Download(Block):
    """Weights from the network; they go to data/weights."""

    url: str = Field(exclude=True, description="http, https or file; another mirror makes nothing stale")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(description="of the file, hexadecimal")

    @property
    def file(self) -> str:
        """Its name there: the begin of the checksum, and what of the URL's last part fits a file name."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", urlsplit(self.url).path.rpartition("/")[2])
        return f"{self.sha256[:12]}-{name or 'weights'}"


class FromClassifier(Block):
    classifier: Name = Field(description="whose backbone, trained with the same seed, the network starts from")


def _initial_tag(data: Any) -> str:
    if isinstance(data, FromClassifier) or isinstance(data, dict) and "classifier" in data:
        return "classifier"
    return "download" if isinstance(data, dict | Download) else "named"


Named = Annotated[Annotated[str, Tag("named")] | Annotated[Download, Tag("download")], Discriminator(_initial_tag)]
Initial = Annotated[
    Annotated[str, Tag("named")] | Annotated[Download, Tag("download")] | Annotated[FromClassifier, Tag("classifier")],
    Discriminator(_initial_tag),
]


class Network(Block):
    """What all blocks of trained networks have."""

    backbone: AnyBackbone
    trained: Named | None = Field(
        None,
        description="weights of a trained network, its authors' say, instead of training: a path, or {url, sha256}",
    )

    def held(self) -> Held | None:
        """What its training holds of its backbone; None where planning cannot know."""
        return self.backbone.held(self.recipe.crop)

    def check(self, where: str, sections: Sections) -> None:
        """Refuse a classifier to start from that is not there, has another backbone, or starts from this network."""
        if not isinstance(initial := getattr(self, "initial", None), FromClassifier):
            return
        known, chain = sections["classifiers"], list[str]()
        wanted = getattr(self.backbone, "stem", self.backbone.name)  # a transformer takes over its stem alone
        while isinstance(initial, FromClassifier) and (name := initial.classifier) in known:
            if name in chain:
                raise UserError(f"{where}.initial: classifiers start from each other: {' -> '.join([*chain, name])}")
            if not chain and (found := known[name].backbone.name) != wanted:
                raise UserError(
                    f"{where}.initial: classifier {name!r} has backbone {found!r}, this block {wanted!r}; "
                    "name one with the same"
                )
            chain.append(name)
            initial = known[name].initial
        if not chain:
            raise UserError(
                f"{where}.initial: classifiers has no block {initial.classifier!r}, {nearest(initial.classifier, known)}"
            )
