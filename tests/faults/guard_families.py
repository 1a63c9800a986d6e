"""Plans under the rules of a deployment: people who opt out, and a cap of calls to a number."""

from __future__ import annotations

from typing import Any

from tests.faults.plan import FAIL, REDIAL, Draw, Key, Step, Task
from tests.faults.single_families import environment, tries

CAP = 2


def opt_outs(draw: Draw) -> dict[str, Any]:
    """Somebody opts out in a call while others have to wait until they may send theirs to that number."""
    script = draw.script(0.2)
    tasks, steps = [], []
    for index in range(2):
        number = draw.number()
        script.opt_outs[number] = 1
        first = draw.key(to=number, unknown_timeout=1.0)
        script.forced[first.mark] = ["ok"]
        tasks.append(Task(f"first{index}", [first]))
        steps.append(Step("start", draw.between(0.0, 0.6), who=f"first{index}"))
        waits = [_waiting(draw, number) for _ in range(2)]
        for place, key in enumerate(waits):
            script.forced[key.mark] = ["429_seconds", draw.one("429_seconds", "429", "ok"), "ok"]
            name = f"waits{index}{place}"
            tasks.append(Task(name, [key], keyless=draw.chance(0.2)))
            steps.append(Step("start", draw.between(0.0, 0.4), who=name))
    rules = {"opt_out": "extracted_data.opt_out = true"}
    return {"tasks": tasks, "steps": steps + environment(draw, 2), "script": script, "rules": rules}


def _waiting(draw: Draw, number: str) -> Key:
    return draw.key(to=number, on_unknown=draw.one(FAIL, REDIAL), unknown_timeout=1.0)


def caps(draw: Draw) -> dict[str, Any]:
    """Several processes, some killed or paused, that call one number more often than the cap allows."""
    number = draw.number()
    tasks, steps = [], []
    for index in range(CAP + 2):
        task = Task(f"call{index}", [_waiting(draw, number)])
        tasks.append(task)
        steps += tries(draw, task, begin=draw.between(0.0, 0.2))
    rules = {"call_cap": f"{CAP}/24h"}
    return {"tasks": tasks, "steps": steps + environment(draw, 2), "rules": rules}
