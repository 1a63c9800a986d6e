"""The page /ui/call: what was asked for, what became of it, and what was said."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response

from airflow_provider_voiceinfra.ledger.records import CallEntry, CompletionEntry
from airflow_provider_voiceinfra.web.pages.addresses import page_address, unseal
from airflow_provider_voiceinfra.web.pages.call.view import MOST_ATTEMPTS, CallView
from airflow_provider_voiceinfra.web.pages.rendering import page
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.pages.scope import Scope

router = APIRouter(route_class=PageRoute)


@router.get("/call")
def show_call(request: Request, key: str = "", id: str = "") -> Response:
    """Show one call.

    :param key: the hash that the ledger finds it by.
    :param id: the API's id of it, or of a call that was not placed from here.
    """
    if bool(key) == bool(id):
        raise HTTPException(
            400,
            "This address names no call, or two: it needs either key or id (the call_id that the API gave). "
            "The list of calls leads to each of them.",
        )
    scope = Scope.of(request)
    entry, completion = _by_key(scope, key) if key else _by_id(scope, id)
    view = CallView(scope, entry, completion)
    return page(
        request,
        "call.html",
        media=view.recording_origin,
        title="A call",
        current="calls",
        view=view,
        here=page_address("call", key=entry.key_hash) if key and entry else page_address("call", id=id),
        most_attempts=MOST_ATTEMPTS,
    )


def _by_key(scope: Scope, key: str) -> tuple[CallEntry, CompletionEntry | None]:
    try:
        key_hash = unseal(key)
    except ValueError:
        raise HTTPException(
            400,
            "key: this is not what the list of calls calls a call; it was cut off or changed, or Airflow's "
            "[api] secret_key is another one now. Open the call from the list of calls.",
        ) from None
    entry = scope.ledger.call_by_hash(key_hash)
    if entry is None or not scope.shows(entry.origin.dag_id, entry.conn_id):
        raise _not_found()
    return entry, _completion(scope, entry.call_id)


def _by_id(scope: Scope, call_id: str) -> tuple[CallEntry | None, CompletionEntry | None]:
    entry, completion = scope.ledger.call_by_id(call_id), _completion(scope, call_id)
    if entry is not None:
        visible = scope.shows(entry.origin.dag_id, entry.conn_id)
    else:
        # Nobody's DAG placed it, so its connection alone tells who may see it.
        visible = completion is not None and scope.may_read(completion.conn_id)
    if not visible:
        raise _not_found()
    return entry, completion


def _completion(scope: Scope, call_id: str | None) -> CompletionEntry | None:
    return None if call_id is None else scope.ledger.completions([call_id], with_body=False).get(call_id)


def _not_found() -> HTTPException:
    return HTTPException(
        404, "There is no such call, or you may not see it. The list of calls shows all that you may."
    )
