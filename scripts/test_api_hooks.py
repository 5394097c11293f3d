"""What schemas cannot say of requests to the API, for `make test-api`."""

import time

import schemathesis

HOUR_MS = 3_600_000


@schemathesis.hook
def map_case(context, case):
    """Makes requests that fit the schemas fit each other and the present, too."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    body = case.body if isinstance(case.body, dict) else {}
    writes = body.get("writes") if isinstance(body.get("writes"), list) else []
    for write in [body, *(write for write in writes if isinstance(write, dict))]:
        expires_at = write.get("expiresAt")
        # A document cannot expire before it is written.
        if isinstance(expires_at, int) and expires_at < time.time() * 1000 + HOUR_MS:
            write["expiresAt"] = int(time.time() * 1000) + HOUR_MS
    # The header and the body are two ways to name one revision.
    if "expectedRevision" in body and case.headers:
        case.headers.pop("If-Match", None)
    return case
