"""The stand-in for Vercel's edge: streams, guards, keeps, and never tries twice."""

import gzip
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
V1, V2, GONE = "dpl_v1", "dpl_v2", "dpl_gone"
SECRET = {"x-vercel-protection-bypass": "bypass_test_secret"}
TOKEN = {"Authorization": "Bearer vercel_test_token"}
TIMEOUT_S = 1.0
WAIT_S = 10


class App(ThreadingHTTPServer):
    """A deployment: a small real server that tells what it was asked."""

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Pages)
        self.name = name
        self.fresh()

    def fresh(self) -> None:
        """Forget what was asked, and let no waiting page go on."""
        self.asked: Counter[str] = Counter()
        self.go_on = Event()
        self.first_piece = Event()
        self.client_left = Event()
        self.broken = False
        self.may_be_kept = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a page of this server is cut on purpose."""


class _Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: App

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        page = self.path.partition("?")[0].strip("/").replace("-", "_")
        getattr(self, f"page_{page}", self.page_feature)()

    def do_POST(self) -> None:
        self.server.asked[self.path] += 1
        if self.path == "/drop":
            self.page_drop()
        elif self.path == "/upload":
            self._upload()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(json.dumps(self._seen() | {"body": body.decode()}).encode())

    def page_echo(self) -> None:
        self._answer(json.dumps(self._seen()).encode())

    def page_feature(self) -> None:
        if self.server.broken:
            self._answer(b"broken", 500, {"Cache-Control": "s-maxage=60"})
            return
        if not self.server.may_be_kept:
            self.page_plain()
            return
        tags = "feature:x, all"
        cached = {"Cache-Control": "s-maxage=60", "Vercel-Cache-Tag": tags}
        self._answer(self._count(), 200, cached)

    def page_brief(self) -> None:
        policy = "s-maxage=1, stale-while-revalidate=60"
        self._answer(self._count(), 200, {"Cache-Control": policy})

    def page_with_cookie(self) -> None:
        policy = {"Cache-Control": "s-maxage=60", "Set-Cookie": "session=1"}
        self._answer(self._count(), 200, policy)

    def page_missing(self) -> None:
        self._answer(self._count(), 404, {"Cache-Control": "s-maxage=60"})

    def page_private(self) -> None:
        self._answer(self._count(), 200, {"Cache-Control": "private, s-maxage=60"})

    def page_plain(self) -> None:
        self._answer(self._count())

    def page_zipped(self) -> None:
        self._answer(gzip.compress(b"zipped"), 200, {"Content-Encoding": "gzip"})

    def page_two_cookies(self) -> None:
        self.send_response(200)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Keep-Alive", "timeout=5")
        self.send_header("X-Hop", "mine")
        self.send_header("Connection", "X-Hop")
        self.send_header("X-Deployment-Id", "dpl_forged")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def page_slow(self) -> None:
        self._start_pieces()
        self._piece(b"first")
        self.server.go_on.wait(WAIT_S)
        self._piece(b"last")
        self._piece(b"")

    def page_endless(self) -> None:
        self._start_pieces()
        try:
            while not self.server.go_on.wait(0.02):
                self._piece(b"x" * 1000)
        except OSError:
            self.server.client_left.set()

    def page_silent(self) -> None:
        self.connection.settimeout(WAIT_S)
        if self.connection.recv(1) == b"":
            self.server.client_left.set()
        self.close_connection = True

    def page_stuck(self) -> None:
        self._start_pieces()
        self._piece(b"first")
        self.server.go_on.wait(WAIT_S)

    def page_cut(self) -> None:
        self.send_response(200)
        self.send_header("Cache-Control", "s-maxage=60")
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"half")
        self.close_connection = True

    def page_drop(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _upload(self) -> None:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
            self.server.first_piece.set()
        self.rfile.readline()
        self._answer(body)

    def _count(self) -> bytes:
        return f"{self.server.name} {self.server.asked[self.path]}".encode()

    def _seen(self) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return {"path": self.path, "app": self.server.name, "headers": headers}

    def _answer(
        self, body: bytes, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _start_pieces(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _piece(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


class Platform:
    """The running platform: its addresses, the apps behind it, and its API."""

    def __init__(self, apps: dict[str, App], http: httpx.Client) -> None:
        api, edge, *own = _free_ports(2 + len(apps) + 1)
        self.apps = apps
        self.http = http
        self.edge_port = edge
        self.host = f"127.0.0.1:{edge}"
        self.edge = f"http://{self.host}"
        self.api = f"http://127.0.0.1:{api}"
        self.own = dict(zip([*apps, GONE], own, strict=True))
        nowhere = f"http://127.0.0.1:{_free_ports(1)[0]}"
        self.config = {
            "api_port": api,
            "edge_port": edge,
            "token": "vercel_test_token",
            "team_id": "team_wedsync",
            "project": {"id": "prj_wedsync", "name": "wedsync"},
            "bypass_secret": "bypass_test_secret",
            "domains": [self.host, "wedsync.localhost"],
            "upstream_timeout_seconds": TIMEOUT_S,
            "live": V2,
            "deployments": [
                {"id": name, "name": name, "git_sha": "0" * 40, "port": port}
                | {"upstream": apps[name].url if name in apps else nowhere}
                for name, port in self.own.items()
            ],
        }

    def control(self, verb: str, **body: Any) -> None:
        """Use one of the practice stack's own controls."""
        path = f"{self.api}/_control/{verb}"
        self.http.post(path, json=body).raise_for_status()

    def kept(self) -> list[dict[str, Any]]:
        """Give what the edge's cache holds."""
        state = self.http.get(f"{self.api}/_control/state").json()
        kept: list[dict[str, Any]] = state["cache"]
        return kept

    def call(self, path: str, **body: Any) -> None:
        """Use Vercel's own API."""
        answer = self.http.post(
            f"{self.api}{path}",
            params={"projectIdOrName": "wedsync", "teamId": "team_wedsync"},
            json=body,
            headers=TOKEN,
        )
        answer.raise_for_status()

    def purge(self, verb: str, *tags: str) -> None:
        """Purge tags as a client of Vercel does."""
        self.call(f"/v1/edge-cache/{verb}-by-tags", tags=tags)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        taken = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(number)
        ]
        return [each.getsockname()[1] for each in taken]


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.03)


@contextmanager
def _running(app: App) -> Iterator[None]:
    thread = Thread(target=app.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        app.go_on.set()
        app.shutdown()
        app.server_close()
        thread.join()


@pytest.fixture(scope="module")
def process(http: httpx.Client) -> Iterator[Platform]:
    """Run two deployments, and the platform as its own process."""
    apps = {name: App(name) for name in (V1, V2)}
    platform = Platform(apps, http)
    command = [sys.executable, "-m", "stack.platform", json.dumps(platform.config)]
    with _running(apps[V1]), _running(apps[V2]):
        child = subprocess.Popen(command, cwd=ROOT)  # noqa: S603 - our own words
        try:
            _until(lambda: _answers(platform))
            yield platform
        finally:
            child.terminate()
            assert child.wait(10) == 0


@pytest.fixture
def platform(process: Platform) -> Iterator[Platform]:
    """Give the platform as it was at start, with v2 live."""
    process.control("reset")
    for app in process.apps.values():
        app.fresh()
    yield process
    for app in process.apps.values():
        app.go_on.set()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """Give a visitor."""
    with httpx.Client(trust_env=False) as client:
        yield client


def _answers(platform: Platform) -> bool:
    try:
        return platform.http.get(f"{platform.api}/_control/state").is_success
    except httpx.TransportError:
        return False


def _cache(answer: httpx.Response) -> tuple[str, str]:
    return answer.headers["x-vercel-cache"], answer.text


# Whose deployment answers


def test_the_edge_serves_what_is_live(platform: Platform, http: httpx.Client) -> None:
    """The production host leads to the live deployment, and the answer names it."""
    seen = []
    for name in (V1, V2):
        platform.control("live", deployment=name)
        answer = http.get(f"{platform.edge}/plain")
        seen.append((answer.headers["x-deployment-id"], answer.text))
    assert seen == [(V1, f"{V1} 1"), (V2, f"{V2} 1")]


def test_the_host_header_chooses(platform: Platform, http: httpx.Client) -> None:
    """A domain works with and without a port; an unknown one is 404 as Vercel's."""
    url = f"{platform.edge}/plain"
    for host in ("wedsync.localhost", "wedsync.localhost:3000", "WedSync.localhost"):
        assert http.get(url, headers={"Host": host}).headers["x-deployment-id"] == V2
    unknown = http.get(url, headers={"Host": "elsewhere.example.com"})
    assert unknown.status_code == 404
    assert unknown.headers["x-vercel-error"] == "DEPLOYMENT_NOT_FOUND"


@pytest.mark.parametrize("by_host", [True, False])
def test_a_deployments_own_host_is_guarded(
    platform: Platform, http: httpx.Client, *, by_host: bool
) -> None:
    """Without the secret 401 and a page; with it, in header or query, the app."""
    own = f"127.0.0.1:{platform.own[V1]}"
    url = f"{platform.edge if by_host else f'http://{own}'}/echo"
    host = {"Host": own}
    refused = http.get(url, headers=host)
    wrong = http.get(url, headers=host | dict.fromkeys(SECRET, "wrong"))
    assert [refused.status_code, wrong.status_code] == [401, 401]
    assert refused.headers["content-type"].startswith("text/html")
    assert refused.headers["x-deployment-id"] == V1
    assert platform.apps[V1].asked == {}
    with_header = http.get(url, headers=host | SECRET)
    with_query = http.get(url, headers=host, params=SECRET)
    assert [with_header.json()["app"], with_query.json()["app"]] == [V1, V1]


def test_the_id_of_a_deployment_opens_nothing(
    platform: Platform, http: httpx.Client
) -> None:
    """A host header with the deployment's id does not get round the secret."""
    answer = http.get(f"{platform.edge}/plain", headers={"Host": V1})
    assert answer.status_code == 401


def test_a_rollback_moves_the_traffic(platform: Platform, http: httpx.Client) -> None:
    """After the API accepted a rollback, the same address is served by v1."""
    platform.call(f"/v1/projects/prj_wedsync/rollback/{V1}")

    def moved() -> bool:
        live = http.get(f"{platform.edge}/plain").headers["x-deployment-id"]
        return str(live) == V1

    assert not moved()
    _until(moved)


# Passing on


def test_a_request_arrives_as_it_was_sent(
    platform: Platform, http: httpx.Client
) -> None:
    """Path, query, body and headers go through; what the edge knows is added."""
    answer = http.post(
        f"{platform.edge}/a%2Fb/echo?x=%20y&x=2",
        content=b"body",
        headers={"X-Mine": "1", "X-Forwarded-For": "6.6.6.6", "Cookie": "a=1"},
    )
    seen = answer.json()
    assert (seen["path"], seen["body"]) == ("/a%2Fb/echo?x=%20y&x=2", "body")
    wanted = {
        "x-mine": "1",
        "cookie": "a=1",
        "host": platform.host,
        "x-forwarded-host": platform.host,
        "x-forwarded-proto": "http",
        "x-forwarded-for": "127.0.0.1",
    }
    assert {name: seen["headers"][name] for name in wanted} == wanted


def test_the_secret_goes_no_further(platform: Platform, http: httpx.Client) -> None:
    """The app gets neither the secret nor what concerns the client's connection."""
    answer = http.get(
        f"http://127.0.0.1:{platform.own[V2]}/echo",
        headers=SECRET | {"Connection": "X-Hop", "X-Hop": "1", "TE": "trailers"},
    )
    seen = answer.json()["headers"]
    assert not {*SECRET, "x-hop", "te"} & set(seen)


def test_an_answer_arrives_as_it_was_sent(
    platform: Platform, http: httpx.Client
) -> None:
    """Repeated headers stay apart, the connection's own go, and none is forged."""
    answer = http.get(f"{platform.edge}/two-cookies")
    http.cookies.clear()
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert not {"keep-alive", "x-hop"} & set(answer.headers)
    assert answer.headers.get_list("x-deployment-id") == [V2]
    assert len(answer.headers.get_list("date")) == 1
    assert http.get(f"{platform.edge}/zipped").text == "zipped"


def test_no_cookie_is_carried_to_the_next_visitor(
    platform: Platform, http: httpx.Client
) -> None:
    """The edge keeps no cookie jar of its own."""
    http.get(f"{platform.edge}/two-cookies")
    http.cookies.clear()
    assert "cookie" not in http.get(f"{platform.edge}/echo").json()["headers"]


def test_answers_are_streamed(platform: Platform, http: httpx.Client) -> None:
    """The first piece is here before the app has sent the last."""
    with http.stream("GET", f"{platform.edge}/slow") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first"
        assert not platform.apps[V2].go_on.is_set()
        platform.apps[V2].go_on.set()
        assert b"".join(pieces) == b"last"


def test_requests_are_streamed(platform: Platform, http: httpx.Client) -> None:
    """The app has the first piece before the client sends the last."""

    def body() -> Iterator[bytes]:
        yield b"first"
        assert platform.apps[V2].first_piece.wait(WAIT_S)
        yield b"last"

    answer = http.post(f"{platform.edge}/upload", content=body())
    assert answer.content == b"firstlast"


@pytest.mark.parametrize("page", ["endless", "silent"])
def test_a_client_that_leaves_is_not_waited_for(platform: Platform, page: str) -> None:
    """The request to the app ends when its client is gone, answered or not."""
    app = platform.apps[V2]
    with socket.create_connection(("127.0.0.1", platform.edge_port)) as raw:
        raw.sendall(f"GET /{page} HTTP/1.1\r\nHost: {platform.host}\r\n\r\n".encode())
        _until(lambda: app.asked[f"/{page}"] == 1)
    # Well before the edge would have given up by itself.
    assert app.client_left.wait(TIMEOUT_S / 2)


# What goes wrong behind the edge


def test_nobody_there_is_502(platform: Platform, http: httpx.Client) -> None:
    """A refused connection is 502 with Vercel's code, and names the deployment."""
    platform.control("live", deployment=GONE)
    answer = http.get(f"{platform.edge}/plain")
    assert answer.status_code == 502
    assert answer.headers["x-vercel-error"] == "ROUTER_CANNOT_MATCH"
    assert answer.headers["x-deployment-id"] == GONE


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_edge_does_not_try_twice(
    platform: Platform, http: httpx.Client, method: str
) -> None:
    """A connection that is dropped in place of an answer is 502 after one attempt."""
    http.get(f"{platform.edge}/plain")
    answer = http.request(method, f"{platform.edge}/drop")
    assert answer.status_code == 502
    assert answer.headers["x-vercel-error"] == "NO_RESPONSE_FROM_FUNCTION"
    assert platform.apps[V2].asked["/drop"] == 1


def test_silence_is_504(platform: Platform, http: httpx.Client) -> None:
    """An app that says nothing for the time allowed is 504, not before it is over."""
    begun = time.monotonic()
    answer = http.get(f"{platform.edge}/silent")
    assert time.monotonic() - begun >= TIMEOUT_S
    assert answer.status_code == 504
    assert answer.headers["x-vercel-error"] == "FUNCTION_INVOCATION_TIMEOUT"
    assert answer.headers["x-deployment-id"] == V2


@pytest.mark.parametrize("page", ["cut", "stuck"])
def test_half_an_answer_stays_half(
    platform: Platform, http: httpx.Client, page: str
) -> None:
    """An answer that breaks off, or stops, breaks off at the client too."""
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(f"{platform.edge}/{page}")


# What the edge keeps


def test_an_answer_is_kept(platform: Platform, http: httpx.Client) -> None:
    """The second visitor is served without the app, and told the age."""
    url = f"{platform.edge}/feature"
    assert _cache(http.get(url)) == ("MISS", f"{V2} 1")
    again = http.get(url)
    assert _cache(again) == ("HIT", f"{V2} 1")
    assert again.headers["age"] == "0"
    assert again.headers["x-deployment-id"] == V2
    assert _cache(http.get(url, params={"other": "1"})) == ("MISS", f"{V2} 1")
    assert platform.apps[V2].asked["/feature"] == 1


@pytest.mark.parametrize("page", ["with-cookie", "missing", "private", "plain"])
def test_some_answers_are_never_kept(
    platform: Platform, http: httpx.Client, page: str
) -> None:
    """Neither a cookie, nor a status other than 200, nor what is private or silent."""
    url = f"{platform.edge}/{page}"
    seen = [_cache(http.get(url)) for _ in range(2)]
    http.cookies.clear()
    assert seen == [("MISS", f"{V2} 1"), ("MISS", f"{V2} 2")]


def test_who_authorizes_gets_an_own_answer(
    platform: Platform, http: httpx.Client
) -> None:
    """A request with Authorization neither reads nor fills the cache."""
    url = f"{platform.edge}/feature"
    for number in (1, 2):
        answer = http.get(url, headers={"Authorization": "Bearer me"})
        assert _cache(answer) == ("MISS", f"{V2} {number}")
    assert _cache(http.get(url)) == ("MISS", f"{V2} 3")


def test_a_rollback_brings_back_old_entries(
    platform: Platform, http: httpx.Client
) -> None:
    """Each deployment has its own entries: neither sees the other's, both keep them."""
    url = f"{platform.edge}/feature"
    seen = []
    for name in (V1, V2, V1, V2):
        platform.control("live", deployment=name)
        seen.append(_cache(http.get(url)))
    assert seen == [
        ("MISS", f"{V1} 1"),
        ("MISS", f"{V2} 1"),
        ("HIT", f"{V1} 1"),
        ("HIT", f"{V2} 1"),
    ]


def test_deleting_a_tag_drops_its_entries(
    platform: Platform, http: httpx.Client
) -> None:
    """The next request waits for the app; other tags stay."""
    url = f"{platform.edge}/feature"
    http.get(url)
    platform.purge("dangerously-delete", "feature:y")
    assert _cache(http.get(url)) == ("HIT", f"{V2} 1")
    platform.purge("dangerously-delete", "feature:x")
    assert _cache(http.get(url)) == ("MISS", f"{V2} 2")


def test_invalidating_a_tag_serves_stale_once(
    platform: Platform, http: httpx.Client
) -> None:
    """The next request gets the old answer as STALE, and the new one is fetched."""
    url = f"{platform.edge}/feature"
    http.get(url)
    platform.purge("invalidate", "all")
    assert _cache(http.get(url)) == ("STALE", f"{V2} 1")
    _until(lambda: http.get(url).headers["x-vercel-cache"] == "HIT")
    assert http.get(url).text == f"{V2} 2"


def test_a_stale_answer_outlives_a_broken_app(
    platform: Platform, http: httpx.Client
) -> None:
    """While the app answers 500, the old answer is served; then the new one."""
    app, url = platform.apps[V2], f"{platform.edge}/feature"
    http.get(url)
    app.broken = True
    platform.purge("invalidate", "all")
    while app.asked["/feature"] < 3:
        assert _cache(http.get(url)) == ("STALE", f"{V2} 1")
    app.broken = False
    _until(lambda: http.get(url).headers["x-vercel-cache"] == "HIT")


def test_an_answer_may_leave_the_cache(platform: Platform, http: httpx.Client) -> None:
    """A page that is no longer for keeping is not served from before for ever."""
    app, url = platform.apps[V2], f"{platform.edge}/feature"
    http.get(url)
    app.may_be_kept = False
    platform.purge("invalidate", "all")
    assert _cache(http.get(url)) == ("STALE", f"{V2} 1")
    _until(lambda: http.get(url).headers["x-vercel-cache"] == "MISS")
    assert platform.kept() == []


def test_an_old_answer_is_fetched_behind_the_visitor(
    platform: Platform, http: httpx.Client
) -> None:
    """After s-maxage, within stale-while-revalidate, STALE comes first and then HIT."""
    url = f"{platform.edge}/brief"
    assert _cache(http.get(url)) == ("MISS", f"{V2} 1")
    _until(lambda: http.get(url).headers["x-vercel-cache"] == "STALE")
    _until(lambda: _cache(http.get(url)) == ("HIT", f"{V2} 2"))


def test_half_an_answer_is_not_kept(platform: Platform, http: httpx.Client) -> None:
    """What broke off does not reach the cache; what is whole does."""
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(f"{platform.edge}/cut")
    assert platform.kept() == []
    http.get(f"{platform.edge}/feature")
    assert [entry["path"] for entry in platform.kept()] == ["/feature"]
