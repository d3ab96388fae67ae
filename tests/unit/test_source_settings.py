"""Which sources the settings switch on."""

from typing import Any

import pytest

from rollback import wiring
from rollback.adapters.memory import FixedClock
from rollback.adapters.probes import HttpSite
from rollback.errors import SettingMissing, SettingsInvalid
from rollback.settings import Settings

SENTRY = {
    "sentry_auth_token": "sntrys_token",
    "sentry_org": "wedsync",
    "sentry_project": "web",
    "sentry_transactions": True,
}
PROMETHEUS: dict[str, Any] = {"prometheus_url": "http://user:s3cret@127.0.0.1:9090"}


def lags(monkeypatch: pytest.MonkeyPatch, **values: Any) -> dict[str, int]:
    """The sources of these settings alone, with their lags."""
    for name in ("REDIS_URL", "UPSTASH_REDIS_URL", "PROMETHEUS_URL", "SENTRY_ORG"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings(**values)
    sources = wiring._sources(settings, HttpSite(), FixedClock())
    return {source.name: source.lag_seconds for source in sources}


def test_probes_alone_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings the site is seen from outside, and nobody is asked."""
    assert lags(monkeypatch) == {"probes": 1}


def test_each_source_is_switched_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus by its address, transactions by their switch, each with its lag."""
    assert lags(monkeypatch, **PROMETHEUS) == {"probes": 1, "prometheus": 19}
    found = lags(monkeypatch, **SENTRY)
    assert found == {"probes": 1, "sentry transactions": 30}
    assert "sentry transactions" not in lags(
        monkeypatch, **{**SENTRY, "sentry_transactions": False}
    )
    found = lags(
        monkeypatch,
        **PROMETHEUS,
        **SENTRY,
        redis_url="redis://127.0.0.1",
        prometheus_step_seconds=5,
        prometheus_lag_seconds=3,
        sentry_lag_seconds=60,
        sentry_dataset="transactions",
    )
    assert found == {
        "probes": 1,
        "redis": 2,
        "prometheus": 7,
        "sentry transactions": 60,
    }


def test_transactions_need_sentry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named as the environment has it."""
    with pytest.raises(SettingMissing, match="SENTRY_ORG"):
        lags(monkeypatch, **{**SENTRY, "sentry_org": None})


def test_a_query_for_everybody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in a query is found before anything is asked."""
    with pytest.raises(SettingsInvalid, match="other deployments"):
        lags(monkeypatch, **PROMETHEUS, prometheus_slow="sum(slow)")


def test_an_address_with_a_password_is_not_shown() -> None:
    """Neither the settings nor their parts print it."""
    settings = Settings(**{**PROMETHEUS, "prometheus_token": "t0ken-t0ken"})
    assert "s3cret" not in repr(settings)
    assert "t0ken-t0ken" not in repr(settings)
