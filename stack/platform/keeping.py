"""Environment variables, and how long deployments are kept.

Denied as on Vercel: the list shows what is encrypted as ciphertext, another one each
time, whatever was asked; what is sensitive is shown to nobody; retention is written in
labels at an address of its own, and `deploymentsToKeep` not at all.
"""

import base64
import secrets
from typing import Any

from starlette.responses import JSONResponse, Response

from stack.platform import answers
from stack.platform.calls import Call
from stack.platform.config import Variable
from stack.platform.errors import ApiError

DAYS = {"1d": 1, "1w": 7, "1m": 30, "2m": 60, "3m": 90, "6m": 180, "1y": 365}
FIELDS = {
    "expiration": "expirationDays",
    "expirationProduction": "expirationDaysProduction",
    "expirationCanceled": "expirationDaysCanceled",
    "expirationErrored": "expirationDaysErrored",
}


def variables(call: Call) -> Response:
    """The project's environment variables, with the values that a list shows."""
    call.check_project(call.path["project"])
    shown = [_shown(each, opened=False) for each in call.world.config.env]
    return JSONResponse({"envs": shown, "hiddenProductionEnvCount": 0})


def variable(call: Call) -> Response:
    """One variable, by id: what is encrypted is shown in plain text here."""
    call.check_project(call.path["project"])
    for each in call.world.config.env:
        if answers.alias_id(each.key) == call.path["variable"]:
            return JSONResponse(_shown(each, opened=True))
    raise ApiError(
        404, f"The Environment Variable {call.path['variable']} was not found"
    )


def keep(call: Call) -> Response:
    """Set how long deployments are kept; answers in labels, not in days."""
    call.check_project(call.path["project"])
    unknown = call.body.keys() - FIELDS.keys()
    if unknown or not call.body:
        named = ", ".join(sorted(unknown)) or "nothing"
        message = f"Invalid request: should NOT have additional property {named}"
        raise ApiError(400, message)
    hobby = bool(call.world.faults.table.get("hobby"))
    for name, label in call.body.items():
        if label not in DAYS:
            raise ApiError(400, f"`{name}` should be one of {', '.join(DAYS)}")
        if hobby and DAYS[label] > DAYS["1m"]:
            raise ApiError(403, "The plan allows a retention of one month at most")
    days = {FIELDS[name]: DAYS[label] for name, label in call.body.items()}
    call.world.retention = {**call.world.retention, **days}
    return JSONResponse({"deploymentExpiration": call.body})


def _shown(variable: Variable, *, opened: bool) -> dict[str, Any]:
    value, decrypted = variable.value, opened
    if variable.type == "sensitive":
        value, decrypted = "", False
    elif variable.type == "encrypted" and not opened:
        sealed = secrets.token_bytes(16) + variable.value.encode()
        value = base64.b64encode(sealed).decode()
    return {
        "id": answers.alias_id(variable.key),
        "key": variable.key,
        "type": variable.type,
        "value": value,
        "decrypted": decrypted,
        "target": list(variable.target),
        "securityIssues": [],
        "createdAt": answers.INSTALLED_AT_MS,
        "updatedAt": answers.INSTALLED_AT_MS,
    }
