"""The sign-in service: accounts are made there, with the service key."""

from collections.abc import Mapping
from typing import Any

import httpx

from stack.app.errors import AuthServiceDown, EmailTaken, InvalidInput

TIMEOUT_S = 3.0


class Auth:
    """The sign-in service of one deployment; a lost one is `AuthServiceDown`."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"apikey": key, "Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=url.startswith("https:"),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def create_user(self, email: str, password: str) -> str:
        """Make an account and give its id.

        A sign-up that was cut short left one behind: whoever knows its password may
        go on with it.

        Raises:
            EmailTaken: the account is somebody else's.
            InvalidInput: the service refuses the address or the password.

        """
        account = {"email": email, "password": password}
        answer = await self._post(
            "/auth/v1/admin/users", account | {"email_confirm": True}
        )
        if answer.is_success:
            return str(answer.json()["id"])
        if answer.json().get("error_code") != "email_exists":
            raise InvalidInput(str(answer.json().get("msg", "")))
        answer = await self._post("/auth/v1/token?grant_type=password", account)
        if not answer.is_success:
            raise EmailTaken
        return str(answer.json()["user"]["id"])

    async def check(self) -> None:
        """Ask whether the service is well.

        Raises:
            httpx.HTTPError: it is not, or cannot be reached.

        """
        (await self._http.get("/auth/v1/health")).raise_for_status()

    async def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        try:
            answer = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise AuthServiceDown from error
        if answer.is_server_error or answer.status_code in {401, 403, 429}:
            raise AuthServiceDown
        return answer
