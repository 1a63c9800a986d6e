"""How fast contacts are read and checked, and in how much memory: a gzipped CSV of 10k, 30k and 100k rows.

Also how long it takes to ask a calling window about each of them. One thread; every size in a process of its
own, since peak memory only grows.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

SIZES = (10_000, 30_000, 100_000)
# Ranges kept free for fiction: a prefix, and how many numbers follow it.
UK_AREAS = (113, 114, 115, 116, 117, 118, 121, 131, 141, 151, 161)
FICTION = [
    *((f"+1{area}55501", 100) for area in range(200, 1000)),
    *((f"+44{area}4960", 1000) for area in UK_AREAS),
    *((f"+61{area}5550", 10_000) for area in (2, 3, 7)),
]


def numbers() -> Iterator[str]:
    """Yield 121,000 numbers that are nobody's."""
    for prefix, count in FICTION:
        for number in range(count):
            yield f"{prefix}{number:0{len(str(count - 1))}d}"


def write_contacts(path: Path, rows: int) -> None:
    """Write contacts as a gzipped CSV."""
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        stream.write("to_number,first_name,city,appointment\r\n")
        for row, number in enumerate(itertools.islice(numbers(), rows)):
            stream.write(f"{number},Ann{row},Springfield,10:{row % 60:02d}\r\n")


def peak_mb() -> float:
    """Return this process's peak of resident memory, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(path: Path) -> str:
    """Return one line of the table."""
    import phonenumbers.timezone  # noqa: F401  # its tables are not the reader's memory

    from airflow_provider_voiceinfra.campaigns.contacts.reader import ContactReader
    from airflow_provider_voiceinfra.rules.calling_window.place import place_of
    from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow

    before = peak_mb()
    started = time.perf_counter()
    reader = ContactReader(
        first_message="Hello {first_name}, see you at {appointment}.", variables={"shop": "X"}
    )
    rows = sum(1 for _ in reader.read(str(path)))
    seconds = time.perf_counter() - started
    memory = peak_mb() - before

    window = CallingWindow.parse("mon-fri 09:00-20:00")
    at = datetime(2027, 3, 12, 3, 0, tzinfo=timezone.utc)
    numbers = [item.call.to_number for item in reader.read(str(path)) if not item.skipped]
    started = time.perf_counter()
    places = [place_of(number) for number in numbers]
    place_seconds = time.perf_counter() - started
    started = time.perf_counter()
    for index, place in enumerate(places):
        window.next_opening(at + timedelta(seconds=index), place)
    window_seconds = time.perf_counter() - started
    return (
        f"{rows:>8,} {seconds:>8.2f} {rows / seconds:>10,.0f} {memory:>10.1f} "
        f"{rows / place_seconds:>12,.0f} {rows / window_seconds:>14,.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.file:
        print(measure(chosen.file))
        return
    print(f"Python {sys.version.split()[0]}, phonenumbers {version('phonenumbers')}")
    print(f"{'rows':>8} {'s':>8} {'rows/s':>10} {'peak + MB':>10} {'place_of/s':>12} {'next_opening/s':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"{size}.csv.gz"
            write_contacts(path, size)
            subprocess.run([sys.executable, __file__, "--file", str(path)], check=True)


if __name__ == "__main__":
    main()
