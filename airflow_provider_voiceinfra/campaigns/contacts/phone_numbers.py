"""Phone numbers as people and spreadsheets write them -> E.164; never says whose number it is or calls it."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.masking import mask_number

_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
# Marks without a glyph, which come along when a number is copied out of a chat or an address book.
_INVISIBLE = dict.fromkeys([*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF])
_WRITTEN = re.compile(r"(?:tel:)?[+\uff0b]?[\d\s()./\u2010-\u2015\u2212-]+")
_SCIENTIFIC = re.compile(r"\+?\d+(?:[.,]\d+)?[eE]\+?\d+")
_DECIMAL = re.compile(r"\+?\d{6,}[.,]\d{1,2}")
# Without a number: Airflow masks those of the task in its logs, and would mask the example, too.
_EXAMPLE = "with a plus sign and the country code, such as +1 and ten more digits"
_ABROAD = "begins with 00, which is dialled for calls abroad; write + in its place"


class NumberReader:
    """Turns written phone numbers into E.164, fast for those that are in that form already.

    :param default_region: the country of numbers without a country code, two letters such as ``US``; if not
        set, such numbers are refused.
    :param option: where that country is set, as errors call it.
    :raises ContactsError: if there is no such country.
    """

    def __init__(self, default_region: str | None = None, option: str = "default_region") -> None:
        # Imported late: its tables are of no use to a process that only parses DAG files.
        import phonenumbers

        self._phonenumbers = phonenumbers
        if default_region is not None and default_region not in phonenumbers.SUPPORTED_REGIONS:
            raise ContactsError(
                f"{option}: {default_region!r} is no country; write its two ISO 3166 letters in "
                "capitals, such as US, or GB for the United Kingdom"
            )
        self._region, self._option = default_region, option
        # By the first digits of a number and its length.
        self._kinds: dict[tuple[str, int], tuple[int, re.Pattern[str] | None] | None] = {}

    def normalise(self, written: object, field: str = "to_number") -> str:
        """Return the number in E.164 form.

        :param written: the number, as text or a whole number.
        :param field: what the error calls it.
        :raises InvalidCallError: if it cannot be a phone number; the message masks it.
        """
        if not isinstance(written, (str, int)) or isinstance(written, bool):
            rule = f"must be text, not {type(written).__name__}; write it {_EXAMPLE}"
            raise InvalidCallError(field, rule)
        text = str(written)
        if _E164.fullmatch(text) is None:
            text = text.translate(_INVISIBLE).strip().lstrip("'")
            _check_form(text, field)
        elif self._is_plain(text):
            return text
        return self._parsed(text, field)

    def _is_plain(self, number: str) -> bool:
        """Return whether an E.164 number is possible as it is, without parsing it."""
        kind = number[1:4], len(number)
        if kind not in self._kinds:
            self._kinds[kind] = self._kind(*kind)
        code_size, trunk = self._kinds[kind] or (0, None)
        found = trunk.match(number[code_size + 1 :]) if trunk is not None else None
        # Only a parser can tell whether digits that may be a trunk prefix are dropped.
        return code_size > 0 and (found is None or found.end() == 0)

    def _kind(self, digits: str, length: int) -> tuple[int, re.Pattern[str] | None] | None:
        """Return the length of a country code, and what numbers at home may begin with that is dropped.

        :return: ``None`` if no number that begins so is possible in this length.
        """
        library = self._phonenumbers
        for size in range(1, len(digits) + 1):
            code, national_size = int(digits[:size]), length - size - 1
            regions = library.COUNTRY_CODE_TO_REGION_CODE.get(code)
            if regions is None:
                continue
            metadata = library.PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0])
            if metadata is None or national_size < 1:
                return None
            some = library.PhoneNumber(country_code=code, national_number=10 ** (national_size - 1))
            trunk = metadata.national_prefix_for_parsing
            return (size, re.compile(trunk) if trunk else None) if self._is_possible(some) else None
        return None

    def _is_possible(self, parsed: Any) -> bool:
        # "Possible" without a reason includes numbers that lack their area code.
        library = self._phonenumbers
        return bool(library.is_possible_number_with_reason(parsed) == library.ValidationResult.IS_POSSIBLE)

    def _parsed(self, text: str, field: str) -> str:
        library = self._phonenumbers
        try:
            parsed = library.parse(text, self._region)
        except library.NumberParseException as exc:
            if _calls_abroad(text):
                rule = _ABROAD
            elif exc.error_type == exc.INVALID_COUNTRY_CODE and not text.startswith(("+", "tel:+", "\uff0b")):
                rule = f"has no country code; write it {_EXAMPLE}, or set {self._option}"
            else:
                rule = f"cannot be a phone number; write it {_EXAMPLE}"
            raise InvalidCallError(field, f"{mask_number(text)} {rule}") from exc
        number: str = library.format_number(parsed, library.PhoneNumberFormat.E164)
        if not self._is_possible(parsed) or _E164.fullmatch(number) is None:
            if _calls_abroad(text):
                raise InvalidCallError(field, f"{mask_number(text)} {_ABROAD}")
            raise InvalidCallError(
                field,
                f"{mask_number(number)} cannot be a phone number: wrong country code or number of digits",
            )
        return number


def _calls_abroad(text: str) -> bool:
    return re.sub(r"\D", "", text).startswith("00") and "+" not in text and "\uff0b" not in text


def _check_form(text: str, field: str) -> None:
    """Refuse what a lenient parser would make a wrong number of."""
    if _SCIENTIFIC.fullmatch(text):
        rule = (
            "was turned into powers of ten by a spreadsheet; format the column as text and fill it in again"
        )
    elif _DECIMAL.fullmatch(text):
        rule = f"is a number with decimals; keep the column as text, {_EXAMPLE}"
    elif _WRITTEN.fullmatch(text) is None:
        rule = (
            f"is not one phone number; write digits only, {_EXAMPLE}, no words, extensions or second number"
        )
    else:
        return
    digits = re.sub("[^+0-9]", "", text)
    raise InvalidCallError(field, f"{mask_number(digits) if digits else 'the value'} {rule}")
