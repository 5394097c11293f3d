"""What schemas cannot say of requests to the API, for `make test-api`."""

import time

import schemathesis
from schemathesis.generation import GenerationMode

HOUR_MS = 3_600_000
USER_BYTES = 256


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes requests that fit the schemas fit the present and the wire, too."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    body = case.body if isinstance(case.body, dict) else {}
    writes = body.get("writes") if isinstance(body.get("writes"), list) else []
    for part in [body, *(write for write in writes if isinstance(write, dict))]:
        # 7.0 is an integer to JSON Schema, and a float to everybody else.
        for name, value in part.items():
            if isinstance(value, float) and value.is_integer():
                part[name] = int(value)
        # A document cannot expire before it is written.
        soonest = int(time.time() * 1000) + HOUR_MS
        if isinstance(part.get("expiresAt"), int):
            part["expiresAt"] = max(part["expiresAt"], soonest)
    # Schemas count characters, users have so many bytes.
    for part, name in ((body, "user"), (case.query or {}, "userId")):
        if isinstance(part.get(name), str):
            part[name] = part[name].encode()[:USER_BYTES].decode(errors="ignore")
    # Where schemathesis finds no entity tag, it puts a 0 and still counts the request among the right ones.
    for name in ("If-Match", "If-None-Match"):
        if case.headers and case.headers.get(name) == "0":
            del case.headers[name]


@schemathesis.check
def right_mutations_are_refused_for_the_document_alone(ctx, response, case):
    """A mutation that fits the schema may not fit the document: then the answer says so, and blames nothing else."""
    is_right = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    if is_right and case.operation.label.endswith("/mutate") and response.status_code == 400:
        assert response.json()["error"] in ("invalid_mutation", "document_too_deep"), response.text
