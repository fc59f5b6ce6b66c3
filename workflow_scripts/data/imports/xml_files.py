"""XML of foreign files, which may define no entities: a few of them can stand for gigabytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from workflow_scripts.base.errors import UserError, one_line


def elements(path: Path, *tags: str) -> Iterator[Any]:
    """The elements of these tags, each when it is complete and then emptied, so that a file of any length takes little memory.

    Raises:
        UserError: no XML, broken, or with entities.
    """
    try:
        above: list[Any] = []
        for event, element in iterparse(str(path), events=("start", "end"), forbid_dtd=True):
            if event == "start":
                above.append(element)
                continue
            above.pop()
            if element.tag in tags:
                yield element
                element.clear()
                if above:
                    above[-1].remove(element)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    except DefusedXmlException as error:
        raise _with_entities(path, error) from None
    except (ParseError, ValueError, LookupError) as error:  # the last two: an encoding that does not fit or exist
        raise UserError(f"{path}: broken XML ({one_line(error)}); export it again") from None


def root_tag(path: Path) -> str:
    """The name of the outermost element; empty where there is none that can be read.

    Raises:
        UserError: with entities.
    """
    try:
        for _, element in iterparse(str(path), events=("start",), forbid_dtd=True):
            return str(element.tag)
    except DefusedXmlException as error:
        raise _with_entities(path, error) from None
    except (OSError, ParseError, ValueError, LookupError):
        pass
    return ""


def _with_entities(path: Path, error: DefusedXmlException) -> UserError:
    return UserError(f"{path}: refused, as the XML defines entities ({type(error).__name__}); write it without a DTD")


def numbers(element: Any, *names: str, where: str) -> list[float]:
    """Attributes as numbers.

    Raises:
        UserError: one is missing or no number.
    """
    try:
        return [float(element.get(name)) for name in names]
    except (TypeError, ValueError):
        raise UserError(f"{where}: <{element.tag}> lacks a number in {', '.join(names)}; export it again") from None
