"""An API as VoiceInfra's is not: it can be asked how a call went; for what waits by asking.

Run as ``python pollable_api.py PORT``. A call has no record, which is a 404, until all calls are ended.
"""

from __future__ import annotations

import sys
import uuid
from collections import Counter

import uvicorn
from fastapi import FastAPI, HTTPException

app = FastAPI()
known: set[str] = set()
over: set[str] = set()
counts: Counter[str] = Counter()


@app.post("/calls/outbound", status_code=201)
async def place() -> dict[str, str]:
    """Accept a call."""
    counts["placed"] += 1
    call_id = f"call_{uuid.uuid4().hex}"
    known.add(call_id)
    return {"call_id": call_id, "status": "queued"}


@app.get("/calls/{call_id}")
async def record(call_id: str) -> dict[str, str]:
    """Return the record of a call that is over."""
    counts["asked"] += 1
    if call_id not in over:
        raise HTTPException(404, "there is no record yet")
    return {"call_id": call_id, "call_outcome": "answered"}


@app.get("/counts")
async def counted() -> dict[str, int]:
    """Return how many requests there were."""
    return {"placed": counts["placed"], "asked": counts["asked"]}


@app.post("/end")
async def end() -> dict[str, int]:
    """End all calls."""
    over.update(known)
    return {"ended": len(over)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
