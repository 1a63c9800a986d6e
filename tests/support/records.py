"""Records of which a test needs few values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def build(kind: type[Kind], **values: Any) -> Kind:
    """Return a record; whatever is not given is ``None``."""
    nothing = dict.fromkeys(one.name for one in fields(kind))  # type: ignore[arg-type]
    return kind(**{**nothing, **values})
