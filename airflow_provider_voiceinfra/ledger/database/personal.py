"""The one door through which phone numbers and payloads enter and leave the database.

Today the values pass as they are. Encryption at rest belongs here and nowhere else: every column that
holds personal data has one of these two types.
"""

from __future__ import annotations

from sqlalchemy import LargeBinary, String, TypeDecorator


class PersonalText(TypeDecorator[str]):
    """Text about a person, such as a phone number; can be compared for equality, and only that."""

    impl = String
    cache_ok = True


class PersonalBytes(TypeDecorator[bytes]):
    """A document about a person, such as a webhook's body; is never searched."""

    impl = LargeBinary
    cache_ok = True
