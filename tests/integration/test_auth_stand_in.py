"""The stand-in for Supabase Auth: makes accounts, signs in, and denies the rest."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from .stand_ins import running

pytestmark = pytest.mark.auth

KEY = "auth_test_service_key"
ALICE = {"email": "Alice@example.com", "password": "correct horse"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run the stand-in as its own process."""
    with running("auth", service_key=KEY) as url:
        yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """Give a client with the service key, of a stand-in without users."""
    headers = {"apikey": KEY, "Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        client.post("/_control/reset").raise_for_status()
        yield client


def test_health_names_the_service(http: httpx.Client) -> None:
    """Health is answered with GoTrue's name and version."""
    answer = http.get("/auth/v1/health")
    assert answer.status_code == 200
    assert answer.json()["name"] == "GoTrue"
    assert answer.json().keys() == {"version", "name", "description"}


def test_an_account_is_made(http: httpx.Client) -> None:
    """A new user has an id, its address in lower case, and no password in sight."""
    answer = http.post("/auth/v1/admin/users", json=ALICE)
    assert answer.status_code == 200
    assert uuid.UUID(answer.json()["id"])
    assert answer.json()["email"] == "alice@example.com"
    state = http.get("/_control/state")
    assert [user["id"] for user in state.json()["users"]] == [answer.json()["id"]]
    assert ALICE["password"] not in answer.text + state.text


def test_an_address_is_taken_once(http: httpx.Client) -> None:
    """The second account with an address is refused, in whatever case it is written."""
    http.post("/auth/v1/admin/users", json=ALICE).raise_for_status()
    again = http.post("/auth/v1/admin/users", json={"email": "ALICE@example.com"})
    assert again.status_code == 422
    assert again.json()["code"] == 422
    assert again.json()["error_code"] == "email_exists"
    assert len(http.get("/_control/state").json()["users"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no json", "bad_json"),
        (b"[]", "bad_json"),
        (b"{}", "validation_failed"),
        (b'{"email": "nobody"}', "validation_failed"),
    ],
)
def test_a_bad_account_is_refused(http: httpx.Client, body: bytes, code: str) -> None:
    """What is no account is answered 400 with GoTrue's code, and not kept."""
    answer = http.post("/auth/v1/admin/users", content=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, code)
    assert http.get("/_control/state").json() == {"users": []}


def test_signing_in_gives_a_token(http: httpx.Client) -> None:
    """The right password gives a bearer token and the user that it belongs to."""
    made = http.post("/auth/v1/admin/users", json=ALICE | {"email_confirm": True})
    answer = http.post("/auth/v1/token?grant_type=password", json=ALICE)
    assert answer.status_code == 200
    assert answer.json()["access_token"]
    assert answer.json()["token_type"] == "bearer"
    assert answer.json()["expires_in"] == 3600
    assert answer.json()["user"]["id"] == made.json()["id"]


@pytest.mark.parametrize(
    ("confirmed", "password", "grant", "code"),
    [
        (True, "wrong", "password", "invalid_credentials"),
        (True, "", "password", "invalid_credentials"),
        (False, ALICE["password"], "password", "email_not_confirmed"),
        (True, ALICE["password"], "magic", "validation_failed"),
    ],
)
def test_signing_in_is_denied(
    http: httpx.Client, confirmed: bool, password: str, grant: str, code: str
) -> None:
    """A wrong password, an unconfirmed address and an unknown grant get no token."""
    http.post("/auth/v1/admin/users", json=ALICE | {"email_confirm": confirmed})
    answer = http.post(
        f"/auth/v1/token?grant_type={grant}", json=ALICE | {"password": password}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (400, code)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"apikey": KEY},
        {"apikey": KEY, "Authorization": "Bearer wrong"},
        {"apikey": "wrong", "Authorization": f"Bearer {KEY}"},
        {"Authorization": f"Bearer {KEY}"},
    ],
)
def test_without_the_key_no_account_is_made(
    url: str, http: httpx.Client, headers: dict[str, str]
) -> None:
    """Both the gateway's key and the bearer token must be right; else 401."""
    address = f"{url}/auth/v1/admin/users"
    answer = httpx.post(address, json=ALICE, headers=headers, trust_env=False)
    assert answer.status_code == 401
    assert http.get("/_control/state").json() == {"users": []}


def test_health_is_behind_the_gateway_too(url: str) -> None:
    """Supabase's gateway asks for the key even for the health of the service."""
    assert httpx.get(f"{url}/auth/v1/health", trust_env=False).status_code == 401
