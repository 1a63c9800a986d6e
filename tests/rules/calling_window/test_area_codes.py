"""Every area code of +1, compared with what its administrator says of its time zones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.calling_window.zones import zones_of_number

UTC = timezone.utc
# Of NANPA's report of all area codes (npa_report.csv, file date 26 November 2025), all that serve an area or
# are assigned to one, by the column TIME_ZONE: Eastern, Central, Mountain, Pacific, Atlantic; 775's "PT/MT"
# as MP.
REPORTED = {
    "E": """
        201 202 203 207 212 215 216 220 223 226 227 229 231 234 239 240 242 248 249 252 260 263 267
        269 272 273 276 283 289 301 302 304 305 313 315 317 321 324 326 329 330 332 336 339 343 345
        347 351 352 354 363 365 367 380 382 386 401 404 407 410 412 413 416 418 419 434 436 437 438
        440 443 445 450 463 465 468 470 472 475 478 484 502 508 513 514 516 517 518 519 540 548 551
        561 565 567 570 571 579 581 582 585 586 603 607 609 610 613 614 616 617 624 631 640 645 646
        647 649 656 658 667 678 679 680 681 683 686 689 703 704 705 706 716 717 718 724 727 728 732
        734 740 742 743 753 754 757 761 762 765 770 771 772 774 781 786 802 803 804 810 813 814 819
        821 826 828 829 835 838 839 843 845 848 849 854 856 857 859 860 862 863 864 865 873 876 878
        904 905 908 910 912 914 917 919 929 930 934 937 941 942 943 947 948 954 959 973 978 980 984
        989
    """,
    "C": """
        204 205 210 214 217 218 224 225 228 235 251 254 256 262 274 281 306 309 312 314 316 318 319
        320 325 327 331 334 337 346 353 361 402 405 409 414 417 430 431 432 447 457 464 469 471 474
        479 483 501 504 507 512 515 531 534 539 557 563 572 573 580 584 601 608 612 615 618 621 629
        630 636 639 641 651 659 660 662 682 708 712 713 715 726 730 731 737 763 769 773 779 806 815
        816 817 830 832 847 861 870 872 901 903 913 918 920 924 936 938 940 945 952 956 972 975 979
        985
    """,
    "M": "303 307 368 385 403 406 435 480 505 520 575 587 602 623 719 720 748 780 801 825 928 970 983",
    "P": """
        206 209 213 236 250 253 257 279 310 323 341 350 357 360 369 408 415 424 425 442 503 509 510
        530 559 562 564 604 619 626 628 650 657 661 669 672 702 707 714 725 738 747 760 778 805 818
        820 831 837 840 858 909 916 925 949 951 971 986
    """,
    "EC": "219 270 364 423 448 574 606 729 807 812 850 906 931",
    "CM": "308 605 620 701 785 915",
    "MP": "208 458 541 775",
    "CMP": "867",
    "A": "246 264 268 284 340 428 441 473 506 664 721 758 767 782 784 787 809 868 869 902 939",
}
# Of those that are there without a letter of their own: Newfoundland, Alaska, and the Pacific.
BY_NAME = {
    "709": {"America/Halifax", "America/St_Johns"},
    "879": {"America/Halifax", "America/St_Johns"},
    "907": {"America/Adak", "America/Anchorage", "America/Juneau"},
    "808": {"Pacific/Honolulu"},
    "670": {"Pacific/Saipan"},
    "671": {"Pacific/Guam"},
    "684": {"Pacific/Pago_Pago"},
}
# Where the zones are known better than by the report, which has one of them only.
DIVIDED = {
    "MP": "986 236 250 257 672 778",  # overlays of 208; British Columbia's east
    "EC": "930 334 483",  # an overlay of 812; Alabama at Georgia's border
    "EA": "273 367 418 581",  # Quebec's east
    "ECMP": "867",  # Nunavut's east
    "CM": "306 474 639",  # Saskatchewan: Lloydminster
    "A": "829 849",  # the Dominican Republic, as in 809
}
LAST_TO_WAKE = {"A": "Halifax", "E": "New_York", "C": "Chicago", "M": "Denver", "P": "Los_Angeles"}
# Their clocks are not those of LAST_TO_WAKE in summer.
NO_SUMMER_TIME = """
    246 264 268 284 340 345 473 649 658 664 721 758 767 784 787 809 829 849 868 869 876 939
    306 474 639 480 520 602 623 928
"""
HOURS_OF = {"A": -4, "E": -5, "C": -6, "M": -7, "P": -8}
WINTER = datetime(2026, 1, 14, 12, tzinfo=UTC)


def table(by_letters: dict[str, str]) -> Iterator[tuple[str, str]]:
    for letters, codes in by_letters.items():
        for code in codes.split():
            yield code, letters


LETTERS = {**dict(table(REPORTED)), **dict(table(DIVIDED))}


def of_area(code: str) -> tuple[str, ...]:
    return zones_of_number(f"+1{code}5550100") or ()


def hours_behind(zones: tuple[str, ...]) -> set[float]:
    return {
        (WINTER.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()) / timedelta(hours=1) for zone in zones
    }


def test_the_report_is_there_as_a_whole() -> None:
    assert len(LETTERS) + len(BY_NAME) == 457
    assert not set(LETTERS) & set(BY_NAME)


def test_a_number_is_in_every_zone_of_its_area_and_on_the_continent_in_no_other() -> None:
    expected = {code: {HOURS_OF[letter] for letter in letters} for code, letters in LETTERS.items()}
    assert {code: hours_behind(of_area(code)) for code in LETTERS} == expected
    assert [code for code, zones in BY_NAME.items() if not zones <= set(of_area(code))] == []


@pytest.mark.parametrize("night", [WINTER.replace(hour=6), WINTER.replace(month=7, hour=6)])
def test_nobody_is_called_before_eight_anywhere_in_an_area(night: datetime) -> None:
    window = CallingWindow.parse("08:00-21:00")
    for code, letters in LETTERS.items():
        opening = window.next_opening(night, Place((), of_area(code)))
        assert opening is not None, code
        last = "America/" + LAST_TO_WAKE[max(letters, key="AECMP".index)]
        if code not in NO_SUMMER_TIME:
            assert opening.astimezone(ZoneInfo(last)).hour == 8, code


def test_an_exchange_that_is_in_no_data_opens_by_the_clock_of_the_whole_area() -> None:
    before_dawn = datetime(2026, 7, 15, 8, tzinfo=UTC)
    opening = CallingWindow.parse("08:00-21:00").next_opening(before_dawn, place_of("+12195550100"))
    assert opening is not None
    assert opening.astimezone(ZoneInfo("America/Chicago")).hour == 8


@pytest.mark.parametrize("beginning", ["+1219322", "+1219209"])
def test_an_exchange_with_a_known_city_is_no_exception(beginning: str) -> None:
    # A number is taken along by who moves, within its area at least.
    assert zones_of_number(beginning) == ("America/Chicago", "America/New_York")


def test_an_undivided_area_has_one_zone() -> None:
    codes = "212 305 407 312 415 303 602 604 416 787"
    east, *others = "New_York", "Chicago", "Los_Angeles", "Denver", "Phoenix", "Vancouver", "Toronto"
    places = [east] * 3 + [*others, "Puerto_Rico"]
    assert [of_area(code) for code in codes.split()] == [(f"America/{place}",) for place in places]


@pytest.mark.parametrize(("code", "older"), [("364", "270"), ("448", "850"), ("930", "812"), ("761", "502")])
def test_an_overlay_is_where_the_older_code_is(code: str, older: str) -> None:
    assert of_area(code) == of_area(older) != ()


@pytest.mark.parametrize("code", ["800", "833", "888", "500", "900", "600"])
def test_a_code_without_an_area_may_be_anywhere(code: str) -> None:
    zones = of_area(code)
    assert {"America/New_York", "Pacific/Honolulu"} <= set(zones)
    assert CallingWindow.parse("09:00-17:00").next_opening(WINTER, Place((), zones)) is None


def test_queensland_does_not_put_its_clock_forward_with_sydney() -> None:
    opening = CallingWindow.parse("09:00-20:00").next_opening(
        datetime(2026, 1, 14, 14, tzinfo=UTC), place_of("+61755550100")
    )
    assert opening is not None
    assert opening.astimezone(ZoneInfo("Australia/Brisbane")).hour == 9
