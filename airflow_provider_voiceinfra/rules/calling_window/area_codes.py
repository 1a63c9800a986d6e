"""Which time zones an area code of +1 may be in, all of its exchanges taken together; never what time it is.

The zone data of ``phonenumbers`` knows some exchanges of an area code and gives all others one zone, which is
wrong wherever the area is divided: most of Indiana's 219 is Central, and its unknown exchanges are taken for
Eastern. It does not know the newest area codes at all. So an area code is taken to be in every zone in which
the library knows an exchange of it, or of an area code that serves the same area (an overlay).

Sources of the tables:

- Overlays: the North American Numbering Plan Administrator's report of all area codes (``npa_report.csv``,
  file date 26 November 2025), its column ``OVERLAY_COMPLEX``: those in service, and those assigned that will
  be. A code that it lists in two complexes is in both here, and lends its zones to both, but neither lends
  its own to the other: 236 serves the areas of 250 and of 604, but 604 has nothing of 250's Mountain time.
- Zones that the library lacks or has wrongly: the same report, its column ``TIME_ZONE`` (915 and 931 are
  there in two zones; Orlando's 689 and Toronto's 647 are Eastern, as their overlays are); the time zone
  database's ``zone.tab`` (Saskatchewan: Lloydminster keeps Alberta's time); Alabama's 334, whose towns at
  the Chattahoochee live by Georgia's clock; and Queensland, beyond +1: nearly all of its numbers are taken
  for Sydney's, which puts its clock forward in summer where Brisbane does not.

Not in them are hamlets that keep a neighbour's clock, such as Kenton in Oklahoma.
"""

from __future__ import annotations

from functools import lru_cache

_OVERLAYS = """
    201/551 202/771 203/475 204/431/584 205/659 206/564 208/986 209/350 210/726 212/332/646/917
    213/323/738 214/469/945/972 215/267/445 217/447 220/740 223/717 224/847 226/382/519/548 227/240/301
    234/330 235/573 236/250/257/672/778 236/257/604/672/778 248/947 249/683/705 256/938 263/438/514 270/364
    272/570 273/367/418/581 274/920 279/916 281/346/621/713/832 283/513 289/365/742/905 303/720/983 304/681
    305/645/786 306/474/639 309/861 310/424 312/872 313/679 314/557 315/680 317/463 318/457 321/407/689
    324/904 326/937 327/870 329/845 331/630 334/483 336/743 339/781 341/510 343/613/753 347/465/718/917/929
    351/978 353/608 354/450/579 357/559 360/564 363/516 368/403/587/825 368/587/780/825 369/707 380/614
    385/801 402/531 404/470/678/943 405/572 408/669 410/443/667 412/878 415/628 416/437/647/942 419/567
    423/729 428/506 430/903 436/440 442/760 448/850 458/541 464/708 468/819/873 470/678/770/943 471/662
    472/910 480/602/623 484/610/835 502/761 503/971 507/924 508/774 512/737 518/838 530/837 534/715 539/918
    540/826 561/728 565/912 571/703 582/814 601/769 609/640 615/629 617/857 618/730 619/858 624/716 631/934
    656/813 657/714 658/876 679/734 682/817 686/804 702/725 704/980 706/762 709/879 724/878 732/848 747/818
    748/970 754/954 757/948 773/872 779/815 782/902 787/939 803/839 805/820 809/829/849 812/930 816/975
    821/864 840/909 843/854 860/959 862/973 919/984
"""

# By the first digits of a number with its country code.
_LACKING = {
    "1306": ("America/Edmonton",),
    "1334": ("America/New_York",),
    "1915": ("America/Chicago",),
    "1931": ("America/New_York",),
    "617": ("Australia/Brisbane",),
}
# Of these it names a zone that is far away; their overlays tell.
_WRONG = frozenset({"647", "689"})


def zones_of_area_code(area_code: str) -> tuple[str, ...]:
    """Return all time zones that numbers of an area code of +1 may be in, as sorted IANA names.

    There are none if it serves no area, such as 800, or is newer than what is known here.
    """
    return _all_zones().get(area_code, ())


def zones_lacking(number: str) -> tuple[str, ...]:
    """Return the zones that a number in E.164 form may be in besides those that the library names."""
    return next((zones for first, zones in _LACKING.items() if number.startswith(f"+{first}")), ())


@lru_cache(maxsize=1)
def _all_zones() -> dict[str, tuple[str, ...]]:
    # Imported late: its tables are of no use to a process that only parses DAG files.
    from phonenumbers.tzdata import TIMEZONE_DATA

    own: dict[str, set[str]] = {}
    for prefix, zones in TIMEZONE_DATA.items():
        area_code = prefix[1:4]
        if prefix.startswith("1") and len(area_code) == 3 and area_code not in _WRONG:
            own.setdefault(area_code, set(zones_lacking(f"+{prefix}"))).update(zones)
    shared = {area_code: set(zones) for area_code, zones in own.items()}
    for codes in (each.split("/") for each in _OVERLAYS.split()):
        together = set().union(*(own.get(code, ()) for code in codes))
        for code in codes:
            shared.setdefault(code, set()).update(together)
    return {area_code: tuple(sorted(zones)) for area_code, zones in shared.items() if zones}
