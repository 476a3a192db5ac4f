"""Dataclasses as JSON text and back, checked field by field; the text of a stranger builds nothing else."""

from __future__ import annotations

import functools
from typing import Any, TypeVar, cast

from mldsim.errors import InputError

T = TypeVar("T")


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # takes a while to import

    return TypeAdapter(kind)


def to_plain(values: object) -> Any:
    """What JSON can say of a dataclass: enums by their values, paths as text."""
    kind: Any = type(values)
    return _adapter(kind).dump_python(values, mode="json")


def to_text(values: object) -> str:
    """A dataclass as JSON text."""
    kind: Any = type(values)
    text: str = _adapter(kind).dump_json(values).decode()
    return text


def from_text(kind: type[T], text: str | bytes, where: str) -> T:
    """A dataclass of this kind from JSON text. Fields that it does not know are left out, as a newer version may write.

    Parameters
    ----------
    kind : type
    text : str or bytes
    where : str
        The file and the place, for the sentence.

    Raises
    ------
    InputError
        One sentence: which field, and what is wrong with it.
    """
    from pydantic import ValidationError

    try:
        found: T = _adapter(cast(Any, kind)).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))
        what = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"{where}: {f'the field {field} is wrong: ' if field else ''}{what}.") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return found
