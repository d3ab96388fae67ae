"""The edge cache: Vercel purges by tag. Its rules are in `reference/`, section 1.6.

Entries are deleted, not marked as stale. A stale entry is served once more, in each
region and for each encoding, and as long as the app cannot give a new answer: what is
switched off would be shown on, longest where the app is in trouble. What deleting
costs is small here: the next visitors wait for the app, for one feature's answers.
"""

from collections.abc import Sequence

import httpx
import stamina

from rollback.errors import PlatformDenied, PlatformUnreachable

from . import web
from .vercel_api import VercelApi, accepted

__all__ = ["VercelCache"]

TAGS_A_CALL = 16
REJECTED = (400, 404)


class VercelCache(VercelApi):
    """The cache of one project's production (port `Cache`).

    Deleting twice is deleting once, so it is asked again for `patience_seconds`.
    """

    def __init__(
        self,
        *,
        token: str,
        team_id: str | None,
        project_id: str,
        url: str = "https://api.vercel.com",
        timeout_seconds: float = 10.0,
        patience_seconds: float = 30.0,
    ) -> None:
        super().__init__(
            token=token,
            team_id=team_id,
            project_id=project_id,
            url=url,
            timeout_seconds=timeout_seconds,
        )
        self._patience = patience_seconds

    async def purge(self, tags: Sequence[str]) -> None:
        """Delete what production's cache holds under any of the tags; see the port."""
        for start in range(0, len(tags), TAGS_A_CALL):
            response = await self._delete(list(tags[start : start + TAGS_A_CALL]))
            if response.status_code in REJECTED:
                raise PlatformDenied(
                    f"Vercel will not purge: {web.sentence(response)}.",
                    mend="Check VERCEL_PROJECT_ID, and the feature's name: "
                    "a tag has 256 characters at most.",
                )
            accepted(response)

    async def _delete(self, tags: list[str]) -> httpx.Response:
        path = "/v1/edge-cache/dangerously-delete-by-tags"
        query = {"projectIdOrName": self._project}
        body = {"tags": tags, "target": "production"}
        try:
            async for attempt in stamina.retry_context(
                on=web.worth_retrying,
                attempts=None,
                timeout=self._patience,
                wait_max=2.0,
                wait_jitter=0.2,
            ):
                with attempt:
                    response = await self._send("POST", path, query, json=body)
                    web.raise_if_passing(response)
        except web.TryAgain as error:
            return error.response
        except web.LOST as error:
            raise PlatformUnreachable(
                f"Vercel's API at {self._client.base_url} does not purge: "
                f"{web.reason(error)}."
            ) from error
        return response
