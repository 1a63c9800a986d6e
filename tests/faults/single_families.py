"""Plans of single calls: retries, twins, redials, rivals, accounts, clocks."""

from __future__ import annotations

from typing import Any

from tests.faults.plan import FAIL, REDIAL, Draw, Key, Point, Step, Task

POINTS = ("before_claim", "after_claim", "before_send", "after_answer", "before_store", "after_store",
          "after_push", "before_refuse", "before_redial", "after_redial")  # fmt: skip
# Where a try dies that gets that far; the last two leave most behind.
CRASHES = ("after_claim", "before_send", "before_store", "after_store", *2 * ("after_answer", "after_push"))
# What happens to the ledger, the API and the receiver.
ENVIRONMENT = (*2 * ("lock", "end_backends"), "restart", "crash", "read_only", "disk_full", "fail_over",
               "storm", "kill", "stop")  # fmt: skip
# What leaves a call unknown: with somebody called, and without.
RANG = ("lost", "500", "html", "html_200", "late_answer", "hang")
NOT_RANG = ("lost_before", "500_before", "html_before", "cut_before", "hang_before")


def environment(draw: Draw, most: int = 3) -> list[Step]:
    """Return what happens to everything but the workers."""
    steps = []
    for _ in range(draw.random.randint(0, most)):
        do = draw.one(*ENVIRONMENT)
        who = "receiver" if do in ("kill", "stop") else ""
        steps.append(Step(do, draw.between(0.5, 4.0), who=who, seconds=draw.between(0.3, 3.0)))
    return steps


def trouble(
    draw: Draw, fault: str, who: str, names: tuple[str, ...], *, most: int, within: float
) -> tuple[list[Point], list[Step]]:
    """Return how one try is killed or paused: at a point, or at some moment."""
    if fault == "none":
        return [], []
    if fault.endswith("_at"):
        seconds = draw.pause() if fault == "stop_at" else 0.0
        return [Point(draw.one(*names), draw.random.randint(1, most), seconds)], []
    return [], [Step(fault, draw.between(0.0, within), f"{who}:started", who, seconds=draw.pause())]


def tries(draw: Draw, task: Task, *, begin: float) -> list[Step]:
    """Return how the tries of a task go: one is killed, or paused while the next one begins already."""
    clock = draw.clock() if draw.chance(0.15) else 0.0
    first = f"{task.name}.1"
    fault = draw.one("none", "kill", "kill_at", "stop", "stop_at")
    points, steps = trouble(draw, fault, first, POINTS, most=2, within=2.0)
    steps.append(Step("start", begin, who=task.name, points=points, clock=clock))
    sooner = fault.startswith("stop") and draw.chance(0.7)
    after = draw.between(0.0, 0.5)
    steps.append(Step("start", after, f"{first}:{'stopped' if sooner else 'ended'}", task.name, try_number=2))
    return steps


def mixed(draw: Draw) -> dict[str, Any]:
    """A little of everything."""
    tasks = []
    number = draw.number()
    for index in range(draw.random.randint(2, 3)):
        keys = []
        for _ in range(draw.random.randint(1, 3)):
            values: dict[str, Any] = {"on_unknown": draw.one(FAIL, FAIL, REDIAL)}
            values |= {"unknown_timeout": draw.between(0.5, 3.0)}
            if draw.chance(0.3):
                values["to"] = number
            keys.append(draw.key(**values))
        tasks.append(Task(f"call{index}", keys, wait=draw.between(1.0, 3.0) if draw.chance(0.5) else 0.0))
    if draw.chance(0.3):
        tasks.append(Task("twin", tasks[0].keys))
    steps = [step for task in tasks for step in tries(draw, task, begin=draw.between(0.0, 1.0))]
    steps += environment(draw)
    if draw.chance(0.15):
        steps.append(Step("purge", draw.between(1.5, 4.0), seconds=draw.between(0.0, 2.0)))
    return {"tasks": tasks, "steps": steps}


def crashes(draw: Draw) -> dict[str, Any]:
    """Processes that die at each step of placing a call, and webhooks that do not save them."""
    tasks, steps = [], []
    for index in range(draw.random.randint(5, 6)):
        task = Task(f"call{index}", [draw.key(on_unknown=draw.one(FAIL, FAIL, REDIAL), unknown_timeout=1.0)])
        tasks.append(task)
        ended = None
        for number in (1, 2):
            points = [Point(draw.one(*CRASHES))] if number == 1 or draw.chance(0.3) else []
            steps.append(
                Step("start", draw.between(0.0, 0.3), ended, task.name, try_number=number, points=points)
            )
            ended = f"{task.name}.{number}:ended"
    script = draw.script(0.15)
    script.webhooks["lost"] = 80.0
    return {"tasks": tasks, "steps": steps + environment(draw, 1), "script": script}


def redial_paused(draw: Draw) -> dict[str, Any]:
    """A try that is paused with the answer in hand, while the next one redials and meets a rate limit."""
    keys = [draw.key(on_unknown=REDIAL, unknown_timeout=draw.between(0.3, 1.0)) for _ in range(2)]
    tasks = [Task(f"call{index}", [key]) for index, key in enumerate(keys)]
    script = draw.script(0.2)
    steps: list[Step] = []
    for task in tasks:
        key, first, second = task.keys[0], f"{task.name}.1", f"{task.name}.2"
        storm = draw.random.randint(1, 3) if (in_loop := draw.chance(0.4)) else 12
        script.forced[key.mark] = [draw.one("ok", "ok", "slow"), *[draw.one("429", "429_seconds")] * storm]
        script.forced_webhooks[key.mark] = [draw.one("lost", "late:6", "late:9")]
        until = (
            f"vendor:request:{key.mark}:{storm}"
            if in_loop
            else draw.one(f"{second}:failed", f"{second}:ended")
        )
        point = Point(draw.one("after_answer", "before_store"), seconds=9.0, until=until)
        steps += [
            Step("start", draw.between(0.0, 0.3), who=task.name, points=[point]),
            Step("start", draw.between(0.0, 0.3), f"{first}:stopped", task.name, try_number=2),
            Step("start", draw.between(0.0, 0.3), f"{second}:ended", task.name, try_number=3),
        ]
    return {"tasks": tasks, "steps": steps + environment(draw, 1), "script": script}


def rivals(draw: Draw) -> dict[str, Any]:
    """Two keys to one number, both unknown: one rang and is redialled, the other never rang."""
    tasks, steps = [], []
    script = draw.script(0.2)
    for index in range(2):
        number = draw.number()
        silent = draw.key(
            to=number, on_unknown=draw.one(FAIL, REDIAL), unknown_timeout=draw.between(4.0, 6.0)
        )
        loud = draw.key(to=number, on_unknown=REDIAL, unknown_timeout=draw.between(0.3, 1.0))
        script.forced[silent.mark] = [draw.one(*NOT_RANG)]
        script.forced[loud.mark] = [draw.one("lost", "500", "html", "html_200"), "ok"]
        script.forced_webhooks[loud.mark] = [
            f"late:{draw.between(1.5, 4.0)}",
            draw.one("lost", "plain", "late:5"),
        ]
        for name, key in ((f"silent{index}", silent), (f"loud{index}", loud)):
            tasks.append(Task(name, [key]))
            steps.append(Step("start", draw.between(0.0, 0.4), who=name))
    return {"tasks": tasks, "steps": steps + environment(draw, 1), "script": script}


def accounts(draw: Draw) -> dict[str, Any]:
    """Two connections, each other's webhooks, calls of both to one number, and calls without a key."""
    number, script = draw.number(), draw.script(0.2, crossed=draw.one(0.0, 0.5, 1.0))
    unknown: Key = draw.key(
        to=number, unknown_timeout=draw.between(4.0, 6.0), on_unknown=draw.one(FAIL, REDIAL)
    )
    script.forced[unknown.mark] = [draw.one(*NOT_RANG)]
    others = [draw.key(conn_id=draw.one("conn_a", "conn_b"), unknown_timeout=2.0) for _ in range(3)]
    tasks = [Task("unknown", [unknown]), Task("others_a", [one for one in others if one.conn_id == "conn_a"]),
             Task("others_b", [one for one in others if one.conn_id == "conn_b"])]  # fmt: skip
    if draw.chance(0.5):
        rival = draw.key(to=number, conn_id="conn_b")
        tasks.append(Task("rival", [rival]))
    else:
        rival = draw.key(to=number, conn_id=draw.one("conn_a", "conn_a", "conn_b"))
        tasks.append(Task("keyless", [rival], keyless=True))
    script.forced[rival.mark] = ["ok"]
    script.forced_webhooks[rival.mark] = [draw.one("plain", "early", "doubled")]
    tasks = [task for task in tasks if task.keys]
    steps = [Step("start", draw.between(0.0, 0.4), who=task.name) for task in tasks]
    return {"tasks": tasks, "steps": steps + environment(draw, 1), "script": script}


def receiver(draw: Draw) -> dict[str, Any]:
    """A receiver that is killed right after it answered, with a ledger that is locked now and then."""
    tasks = [Task(f"call{index}", [draw.key() for _ in range(4)], wait=0.0) for index in range(2)]
    steps = [Step("start", draw.between(0.0, 0.2), who=task.name) for task in tasks]
    script = draw.script(0.2)
    for name in ("lost", "altered"):
        script.webhooks[name] = 2.0
    for task in tasks:
        pushed = f"{task.name}.1:pushed"
        steps.append(Step("lock", draw.between(0.0, 0.3), pushed, seconds=draw.between(0.5, 2.0)))
        for key in draw.random.sample(task.keys, 2):
            after = draw.one(0.0, draw.between(0.0, 0.05))
            steps.append(Step("kill", after, f"vendor:ack:{key.mark}:0", "receiver"))
    return {"tasks": tasks, "steps": steps + environment(draw, 2), "script": script}


def clocks(draw: Draw) -> dict[str, Any]:
    """Hosts whose clocks differ, answers that are lost, and webhooks that tell in time."""
    script = draw.script(0.2, skew=0.0)
    tasks, steps = [], []
    for index in range(3):
        key = draw.key(on_unknown=draw.one(FAIL, REDIAL), unknown_timeout=draw.between(2.0, 3.0))
        script.forced[key.mark] = [draw.one("lost", "500", "html", "ok")]
        script.forced_webhooks[key.mark] = ["plain"]
        task = Task(f"call{index}", [key], wait=draw.one(0.0, 3.0))
        tasks.append(task)
        steps += [
            Step("start", draw.between(0.0, 0.3), who=task.name, clock=draw.clock()),
            Step("start", draw.between(0.0, 0.3), f"{task.name}.1:ended", task.name, try_number=2),
        ]
    return {"tasks": tasks, "steps": steps + environment(draw, 1), "script": script}


def forked(draw: Draw) -> dict[str, Any]:
    """Processes that fork once they have used the ledger, as tasks do in a worker that is used again."""
    tasks, steps = [], []
    for index in range(2):
        keys = [draw.key(on_unknown=draw.one(FAIL, REDIAL), unknown_timeout=1.0) for _ in range(3)]
        task = Task(f"call{index}", keys, forked=True)
        tasks.append(task)
        steps += tries(draw, task, begin=draw.between(0.0, 0.5))
    return {"tasks": tasks, "steps": steps + environment(draw, 2)}
