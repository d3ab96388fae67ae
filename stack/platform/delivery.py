"""How a visit gets its answer: from the cache, or from the deployment."""

import asyncio
from contextlib import aclosing, suppress

import anyio
import httpx

from stack.platform import pages
from stack.platform.cache import MAX_BODY_BYTES, Cache, Entry, Header, keepable, tags_of
from stack.platform.forward import (
    ClientGoneError,
    Forwarder,
    UpstreamError,
    end_to_end,
)
from stack.platform.visit import Visit

OWN_ANSWER_HEADERS = frozenset(
    (b"date", b"server", b"x-deployment-id", b"x-vercel-cache", b"x-vercel-id")
)
"""The edge says these itself."""
BROKEN = 500
"""From this status on an answer says nothing of the page: a stale one is better."""


class Delivery:
    """Answers visits, and keeps what may be kept."""

    def __init__(self, cache: Cache, timeout_s: float) -> None:
        self._cache = cache
        self._forwarder = Forwarder(timeout_s)
        self._background: set[asyncio.Task[None]] = set()

    async def answer(self, visit: Visit) -> None:
        """Answer, from the cache if it can."""
        entry = self._cache.find(visit.key) if visit.may_use_cache else None
        if entry is None:
            await self._pass_on(visit)
        else:
            await self._serve_kept(visit, entry)

    async def aclose(self) -> None:
        """End what runs in the background, and close the connections."""
        for task in self._background:
            task.cancel()
        await self._forwarder.aclose()

    async def _serve_kept(self, visit: Visit, entry: Entry) -> None:
        state = entry.state
        if state == "STALE" and not entry.revalidating:
            entry.revalidating = True
            task = asyncio.create_task(self._revalidate(visit, entry))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        own = [
            (b"age", str(int(entry.age)).encode()),
            (b"x-vercel-cache", state.encode()),
        ]
        headers = entry.headers + visit.common + own
        await pages.send_whole(visit.send, 200, headers, entry.body)

    async def _pass_on(self, visit: Visit) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(visit.body.cancel_when_gone, tasks.cancel_scope)
            # A reply that is cut cannot be taken back: returning now makes the server
            # hang up, so that the client sees the cut as well.
            with suppress(ClientGoneError, httpx.TransportError):
                await self._exchange(visit)
            tasks.cancel_scope.cancel()

    async def _exchange(self, visit: Visit) -> None:
        try:
            answer = await self._fetch(visit, visit.forwarded(), visit.body)
        except UpstreamError as error:
            await pages.send_error(
                visit.send, error.status, error.code, visit.common, number=visit.id
            )
            return
        async with aclosing(answer):
            await self._stream(visit, answer)

    async def _stream(self, visit: Visit, answer: httpx.Response) -> None:
        keeper = _Keeper(answer)
        headers = keeper.headers + visit.common + [(b"x-vercel-cache", b"MISS")]
        start = {"type": "http.response.start", "status": answer.status_code}
        await visit.send(start | {"headers": headers})
        async for chunk in answer.aiter_raw():
            keeper.add(chunk)
            await visit.send(
                {"type": "http.response.body", "body": chunk, "more_body": True}
            )
        # Before the end is sent: who has read this answer finds it kept.
        if visit.may_use_cache:
            self._keep(visit, keeper)
        await visit.send({"type": "http.response.body", "body": b""})

    async def _revalidate(self, visit: Visit, stale: Entry) -> None:
        nothing = httpx.ByteStream(b"")
        with suppress(UpstreamError, httpx.TransportError):
            answer = await self._fetch(visit, visit.forwarded(whole=True), nothing)
            async with aclosing(answer):
                keeper = _Keeper(answer)
                async for chunk in answer.aiter_raw():
                    keeper.add(chunk)
            if answer.status_code < BROKEN:
                self._cache.forget(visit.key)
            self._keep(visit, keeper)
        stale.revalidating = False

    async def _fetch(
        self, visit: Visit, headers: list[Header], body: httpx.AsyncByteStream
    ) -> httpx.Response:
        upstream = visit.deployment.upstream
        return await self._forwarder.send(
            upstream, visit.method, visit.target, headers, body
        )

    def _keep(self, visit: Visit, keeper: "_Keeper") -> None:
        entry = keeper.entry()
        if entry is not None:
            self._cache.store(visit.key, entry)


class _Keeper:
    """Gathers an answer on its way through, if it is one to keep."""

    def __init__(self, answer: httpx.Response) -> None:
        self.headers = end_to_end(answer.headers.raw, OWN_ANSWER_HEADERS)
        self._lifetimes = keepable(answer.status_code, self.headers)
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Take the next piece; give up on an answer that grows too long."""
        if self._lifetimes is None:
            return
        self._size += len(chunk)
        self._chunks.append(chunk)
        if self._size > MAX_BODY_BYTES:
            self._lifetimes = None
            self._chunks.clear()

    def entry(self) -> Entry | None:
        """Give what was gathered, once it is whole."""
        if self._lifetimes is None:
            return None
        fresh, stale = self._lifetimes
        return Entry(
            headers=[pair for pair in self.headers if pair[0] != b"content-length"],
            body=b"".join(self._chunks),
            tags=tags_of(self.headers),
            fresh_s=fresh,
            stale_s=stale,
        )
