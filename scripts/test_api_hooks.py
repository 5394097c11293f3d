"""What schemas cannot say of requests to the API, for `make test-api`."""

import re
import time

import schemathesis
from schemathesis.generation import GenerationMode

HOUR_MS = 3_600_000
TAGS = r'\*|(W/)?"[!#-~]*"( ?, ?(W/)?"[!#-~]*")*'


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes requests that fit the schemas fit each other and the present, too."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    body = case.body if isinstance(case.body, dict) else {}
    writes = body.get("writes") if isinstance(body.get("writes"), list) else []
    for write in [body, *(write for write in writes if isinstance(write, dict))]:
        expires_at = write.get("expiresAt")
        # A document cannot expire before it is written.
        if isinstance(expires_at, int) and expires_at < time.time() * 1000 + HOUR_MS:
            write["expiresAt"] = int(time.time() * 1000) + HOUR_MS
        # 7.0 is an integer to JSON Schema, and a float to everybody else.
        for name, value in write.items():
            if isinstance(value, float) and value.is_integer():
                write[name] = int(value) if abs(value) < 2**53 else 1
    # The header and the body are two ways to name one revision.
    if case.headers and ("expectedRevision" in body or "expectedRevision" in (case.query or {})):
        case.headers.pop("If-Match", None)
    # A number is no entity tag, even where it is written as a text.
    for name in ("If-Match", "If-None-Match"):
        if case.headers and not re.fullmatch(TAGS, str(case.headers.get(name, "*"))):
            case.headers.pop(name, None)
