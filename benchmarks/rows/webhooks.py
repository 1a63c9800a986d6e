"""How many webhooks the receiver takes, and how soon it answers, beside an endpoint that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import ClassVar

from framework import AT_LEAST, LESS_THAN, MORE_THAN, Aim, Line, Measured, Row
from load import Load, Target, post
from servers import DATABASES, ApiServer, databases, temporary, uvicorn

CONNECTIONS = (1, 8, 32)
MOST = CONNECTIONS[-1]
SECONDS = 2.4
# To Airflow's asset events: each takes one or two connections of a pool of 15, so with 16 they halt.
EVENTS = 12


def lines_of(database: str, share: float, *, late: tuple[Aim, ...] = ()) -> list[Line]:
    """Return the lines of one database.

    :param share: of the limit that has to be reached with the most connections.
    :param late: the aims of the 99th percentile there.
    """
    rates = [
        Line(f"{database}, {n}", "/s", (Aim(AT_LEAST, share, "limit"),) if n == MOST else ())
        for n in CONNECTIONS
    ]
    p99s = [Line(f"{database}, {n}, 99th percentile", "ms", late if n == MOST else ()) for n in CONNECTIONS]
    growth = Line(f"{database}, {MOST} beside 1 (peer)", "/s", (Aim(MORE_THAN, 1.0, "peer"),))
    return [*rates, growth, *p99s]


LATE = (Aim(LESS_THAN, 5.0, "limit"), Aim(LESS_THAN, 100.0))


class Webhooks(Row):
    """Signed webhooks of 1.3 kB over kept-alive connections, to our receiver and to an empty route."""

    lines: ClassVar = ()

    def __init__(self) -> None:
        super().__init__()
        self.targets: dict[str, dict[str, Target]] = {}
        self._most_cpu = 0.0

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Measure both databases, the one after the other."""
        found: dict[str, Measured] = {}
        for database, targets in self.targets.items():
            rates = {}
            for connections in CONNECTIONS:
                loads = self.posted(targets, connections)
                ours, nothing = loads["ours"], loads["nothing"]
                rates[connections] = ours.rate
                name = f"{database}, {connections}"
                found[name] = Measured(ours.rate, limit=nothing.rate)
                found[f"{name}, 99th percentile"] = Measured(ours.p99, limit=nothing.p99)
            found[f"{database}, {MOST} beside 1 (peer)"] = Measured(rates[MOST], peer=rates[1])
        self.notes = [f"The load generator took at most {self._most_cpu:.0%} of one processor."]
        return found

    def posted(self, targets: Mapping[str, Target], connections: int) -> dict[str, Load]:
        """Post to all targets in turn."""
        loads = post(targets, connections=connections, seconds=SECONDS)
        self._most_cpu = max(self._most_cpu, *(load.cpu for load in loads.values()))
        return loads


class OnItsOwn(Webhooks):
    """The receiver as ``docs/webhooks.md`` starts it, beside an empty route on a uvicorn of its own."""

    name = "webhook-alone"
    what = (
        "Webhooks per second and the time of an answer, by database and number of connections: the receiver "
        "on its own (ours), and a FastAPI route that reads the body, in another uvicorn with the same "
        "options (limit)."
    )
    lines: ClassVar = tuple(line for database in DATABASES for line in lines_of(database, 0.3))
    seconds = 125

    def open(self, stack: ExitStack) -> None:
        """Start a receiver for each database, and the route that does nothing."""
        nothing = Target(uvicorn(stack, "nothing:create_app"), "/webhooks")
        for database, new in databases(stack).items():
            port = uvicorn(stack, "airflow_provider_voiceinfra.web.app:create_app", new())
            self.targets[database] = {"nothing": nothing, "ours": Target(port, "/webhooks")}


class InAirflow(Webhooks):
    """The receiver in Airflow's API server, beside a plugin that does nothing, and beside asset events."""

    name = "webhook-airflow"
    what = (
        "Webhooks per second and the time of an answer, by database and number of connections, in Airflow's "
        "API server: the receiver (ours), a plugin's route that reads the body (limit), and Airflow's own "
        f"POST of an asset event (peer, with {EVENTS} connections, where it is fastest: with more than its "
        "pool of 15 connections to the database, requests keep each other waiting for 30 s). Airflow's "
        "metadata is in PostgreSQL; one worker, as by default."
    )
    lines: ClassVar = tuple(
        line
        for database in DATABASES
        for line in [
            *lines_of(database, 0.5, late=LATE),
            Line(f"{database}, {MOST} beside asset events", "/s", (Aim(AT_LEAST, 10.0, "peer"),)),
        ]
    )
    seconds = 230

    def open(self, stack: ExitStack) -> None:
        """Start an API server for each database, with an asset."""
        new = databases(stack)
        metadata_url = new["PostgreSQL"]().replace("postgresql:", "postgresql+psycopg2:", 1)
        servers = {
            database: ApiServer(
                temporary(stack, "airflow"), metadata_url=metadata_url, ledger_url=new[database]()
            )
            for database in DATABASES
        }
        first = servers[DATABASES[0]]
        first.run_cli("db", "migrate")
        first.run_cli("dags", "reserialize")
        for server in servers.values():
            server.serve(stack)
        for database, server in servers.items():
            server.wait()
            self.targets[database] = {
                "nothing": Target(server.port, "/nothing/webhooks"),
                "ours": Target(server.port, "/voiceinfra/webhooks"),
            }
            self.events[database] = asset_events(server)

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, Target] = {}

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Measure both databases, and asset events beside each."""
        found = dict(super().measure(number))
        for database, target in self.events.items():
            beside = {"ours": self.targets[database]["ours"], "events": target}
            loads = self.posted(beside, MOST)
            name = f"{database}, {MOST} beside asset events"
            found[name] = Measured(loads["ours"].rate, peer=loads["events"].rate)
        return found


def asset_events(server: ApiServer) -> Target:
    """Return where asset events of the asset ``bench`` are posted to."""
    assets = server.api.request("GET", "/api/v2/assets", name_pattern="bench")["assets"]
    return Target(
        server.port,
        "/api/v2/assets/events",
        headers={"Authorization": f"Bearer {server.api.token}"},
        wrap=(f'{{"asset_id": {assets[0]["id"]}, "extra": ', "}"),
        connections=EVENTS,
    )


ROWS = (OnItsOwn, InAirflow)
