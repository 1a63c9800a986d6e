"""Plans of campaigns: takeovers, result files, lists that change, rivals."""

from __future__ import annotations

from typing import Any

from tests.faults.plan import REDIAL, SCALE, Campaign, Draw, Point, Step, Task
from tests.faults.single_families import NOT_RANG, environment, trouble

POINTS = ("before_claim_many", "after_claim_many", "before_send", "after_answer", "before_settle",
          "after_settle", "before_untried", "before_load", "after_load", "contact_read",
          "before_finish", "after_finish")  # fmt: skip
FILES = ("results.jsonl", "results.csv", "results.jsonl.gz")


def campaign(draw: Draw, contacts: list[dict[str, str]], **values: Any) -> Campaign:
    """Return a campaign, by default of one list."""
    values = {
        "lists": [contacts],
        "do_not_call": [[]],
        "as_file": draw.chance(0.5),
        "results": draw.one(*FILES),
        "max_active_calls": draw.random.randint(3, 8),
        **values,
    }
    return Campaign(f"campaign-{draw.seed}", "conn_a", **values)


def redials(draw: Draw) -> dict[str, Any]:
    waits = [draw.one(0.0, draw.between(0.2, 0.8)) for _ in range(draw.random.randint(0, 2))]
    return {"waits": waits, "outcomes": draw.one(["voicemail"], ["voicemail", "failed"])}


def mixed(draw: Draw) -> dict[str, Any]:
    """A campaign that is killed, paused and taken over, beside everything else that goes wrong."""
    task = Task("camp", campaign=campaign(draw, draw.contacts(draw.random.randint(8, 16)), **redials(draw)))
    steps: list[Step] = []
    label = None
    for number in range(1, draw.random.randint(2, 4)):
        name = f"camp.{number}"
        fault = draw.one("kill", "kill_at", "stop", "stop_at")
        points, more = trouble(draw, fault, name, POINTS, most=4, within=3.0)
        steps += more
        clock = draw.clock() if draw.chance(0.15) else 0.0
        start = Step(
            "start", draw.between(0.0, 0.5), label, "camp", try_number=number, points=points, clock=clock
        )
        steps.append(start)
        label = f"{name}:{'stopped' if fault.startswith('stop') and draw.chance(0.6) else 'ended'}"
    tasks = [task]
    if draw.chance(0.25):  # another run continues the campaign, or is told that it is busy
        tasks.append(Task("other", campaign=task.campaign))
        steps.append(Step("start", draw.between(0.0, 2.0), who="other"))
    return {"tasks": tasks, "steps": steps + environment(draw), "script": draw.script(0.7)}


def takeover(draw: Draw) -> dict[str, Any]:
    """A former owner that is paused while it claims, and goes on while the next one looks who is left."""
    contacts = draw.contacts(draw.random.randint(10, 20))
    task = Task("camp", campaign=campaign(draw, contacts, **redials(draw)))
    pause = draw.between(3.0, 20.0) / SCALE
    stopped = "camp.1:stopped:before_claim_many"
    together = draw.chance(0.9)
    until = "camp.2:stopped:before_untried" if together else None
    # On a busy machine the next one takes its time; the label ends the pause before.
    first = Point("before_claim_many", draw.random.randint(1, 3), 8.0 if together else pause, until)
    # The next try is there already, as after a heartbeat that was missed, and waits for the pause to begin.
    second = [Point("before_take", seconds=6.0, until=stopped)]
    if together:
        second.append(Point("before_untried", seconds=draw.between(0.3, 1.5)))
    steps = [
        Step("start", who="camp", points=[first]),
        Step("start", draw.between(0.0, 0.2), who="camp", try_number=2, points=second),
    ]
    if draw.chance(0.9):  # what it has claimed is given back
        steps.append(Step("storm", on=until or "camp.1:continued", seconds=draw.between(0.2, 0.8)))
    script = draw.script(0.2)
    script.answers["429"] = draw.between(0.0, 10.0)
    return {"tasks": [task], "steps": steps + environment(draw, 1), "script": script}


def results(draw: Draw) -> dict[str, Any]:
    """A try that is paused while it writes the results, and goes on after the next one has written them."""
    contacts = draw.contacts(draw.random.randint(6, 12))
    made = campaign(draw, contacts, completion_timeout=draw.between(0.7, 1.5), unknown_timeout=0.5)
    task = Task("camp", campaign=made)
    name = draw.one("contact_read", "contact_read", "contacts_read", "before_finish")
    nth = draw.random.randint(1, len(contacts)) if name == "contact_read" else 1
    until = draw.one("camp.2:ended", "camp.2:summary", "camp.2:reading_results")
    steps = [
        Step("start", who="camp", points=[Point(name, nth, 12.0, until)]),
        Step("start", draw.between(0.2, 4.0), f"camp.1:stopped:{name}", "camp", try_number=2),
    ]
    script = draw.script(0.2)
    script.webhooks["late"] = 30.0
    return {"tasks": [task], "steps": steps + environment(draw, 1), "script": script}


def lists(draw: Draw) -> dict[str, Any]:
    """A new list that withdraws some and forbids others, while a former owner still dials."""
    contacts = draw.contacts(draw.random.randint(10, 16))
    late = contacts[3:]
    gone = {row["id"] for row in draw.random.sample(late, 4)}
    kept = [row for row in contacts if row["id"] not in gone]
    forbidden = [row["to_number"] for row in draw.random.sample(kept[2:], 3)]
    made = campaign(draw, contacts, lists=[contacts, kept], do_not_call=[[], forbidden],
                    max_active_calls=draw.random.randint(2, 4), **redials(draw))  # fmt: skip
    task = Task("camp", campaign=made, list_of_try={2: 1})
    stopped = draw.one("before_claim_many", "before_claim_many", "before_send", "after_settle")
    first = Point(stopped, draw.random.randint(2, 5), draw.between(1.0, 3.9), draw.one("camp.2:loaded", None))
    second = Point("before_take", seconds=6.0, until=f"camp.1:stopped:{stopped}")
    steps = [
        Step("start", who="camp", points=[first]),
        Step("start", draw.between(0.0, 0.2), who="camp", try_number=2, points=[second]),
    ]
    return {"tasks": [task], "steps": steps + environment(draw, 1), "script": draw.script(0.2)}


def rivals(draw: Draw) -> dict[str, Any]:
    """A contact that was never called, and a single call to its number that was redialled."""
    contacts = draw.contacts(draw.random.randint(4, 8))
    made = campaign(draw, contacts, unknown_timeout=draw.between(4.0, 6.0), waits=[0.0, 0.3])
    script = draw.script(0.2, outcomes={"voicemail": 1.0})
    tasks = [Task("camp", campaign=made)]
    steps = [Step("start", who="camp")]
    for index, row in enumerate(contacts[:2]):
        key = draw.key(to=row["to_number"], on_unknown=REDIAL, unknown_timeout=draw.between(0.3, 1.0))
        script.forced[row["mark"]] = [draw.one(*NOT_RANG)]
        script.forced[key.mark] = [draw.one("lost", "500", "html"), "ok"]
        script.forced_webhooks[key.mark] = [f"late:{draw.between(1.5, 4.0)}", draw.one("lost", "late:6")]
        tasks.append(Task(f"loud{index}", [key]))
        steps.append(Step("start", draw.between(0.0, 0.3), who=f"loud{index}"))
    return {"tasks": tasks, "steps": steps + environment(draw, 1), "script": script}
