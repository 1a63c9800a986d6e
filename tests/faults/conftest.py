"""The process that all others of a run are forked from, and the databases that a run is on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.postgres import find_binaries

from tests.faults import databases
from tests.faults.zygote import Zygote


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    started = Zygote(tmp_path_factory.mktemp("zygote"))
    yield started
    started.stop()


@pytest.fixture(scope="module", params=[databases.SQLITE, databases.POSTGRESQL])
def server(request: pytest.FixtureRequest) -> Iterator[databases.Postgres | None]:
    if request.param == databases.SQLITE:
        yield None
        return
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    started = databases.Postgres(binaries)
    yield started
    started.stop()
