"""Settings: flags before environment before file, and no secret shown."""

import traceback
from pathlib import Path

import pytest

from rollback.errors import SettingMissing, SettingsInvalid
from rollback.settings import Settings
from rollback.wiring import limits, policy


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No rollback.toml of the checkout, no settings of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "ROLLBACK_LEDGER_URL", "VERCEL_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_flags_beat_environment_beats_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The nearer to the person, the stronger."""
    config = tmp_path / "rollback.toml"
    config.write_text("error_rate = 0.1\nmin_requests = 10\nsilence_seconds = 5\n")
    monkeypatch.setenv("ROLLBACK_MIN_REQUESTS", "20")
    monkeypatch.setenv("ROLLBACK_SILENCE_SECONDS", "6")

    settings = Settings.load(config, silence_seconds=7)

    assert settings.error_rate == 0.1
    assert settings.min_requests == 20
    assert settings.silence_seconds == 7


def test_the_ledger_is_the_applications_database_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ledger of its own comes first where it is set."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://app")
    assert Settings.load().need("ledger_url", purpose="here") == "postgresql://app"

    monkeypatch.setenv("ROLLBACK_LEDGER_URL", "postgresql://ledger")
    assert Settings.load().need("ledger_url", purpose="here") == "postgresql://ledger"


def test_a_missing_setting_is_named_as_it_is_set() -> None:
    """The sentence has the variable's name, not ours."""
    with pytest.raises(SettingMissing, match="VERCEL_TOKEN is not set"):
        Settings.load().need("vercel_token", purpose="to ask the platform")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("error_rat = 0.1\n", "error_rat"),
        ("error_rate = 5\n", "error_rate"),
        ('environment = "prod"\n', "environment"),
        ("error_rate = \n", "not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """A typo does not silently leave the default in place."""
    config = tmp_path / "rollback.toml"
    config.write_text(text)

    with pytest.raises(SettingsInvalid, match=said):
        Settings.load(config)


def test_a_settings_file_that_was_named_must_exist(tmp_path: Path) -> None:
    """Without a name it need not."""
    with pytest.raises(SettingsInvalid, match="no settings file"):
        Settings.load(tmp_path / "other.toml")


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings is safe."""
    monkeypatch.setenv("VERCEL_TOKEN", "vercel-secret-1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:database-secret@host/db")
    settings = Settings.load()

    shown = f"{settings!r} {settings} {settings.model_dump_json()}"

    assert "vercel-secret-1" not in shown
    assert "database-secret" not in shown


def test_the_defaults_are_the_specs() -> None:
    """5 %, 3000 ms for 95 of 100, 99 %, five minutes, three codes."""
    settings = Settings.load()

    assert [threshold for _, threshold in limits(settings).thresholds] == [
        0.05,
        0.05,
        0.01,
    ]
    assert settings.response_time_ms == 3000
    assert settings.window_seconds == 300
    assert (
        settings.identify_budget_seconds,
        settings.initiate_budget_seconds,
        settings.verify_budget_seconds,
        settings.communicate_budget_seconds,
    ) == (120, 60, 180, 300)
    assert settings.critical_errors == (
        "STRIPE_WEBHOOK_FAILED",
        "DATABASE_CONNECTION_LOST",
        "AUTH_SERVICE_DOWN",
    )


def test_a_wrong_setting_shows_no_secret_even_in_a_traceback(tmp_path: Path) -> None:
    """A misspelt name holds what the right one would: nobody prints it."""
    file = tmp_path / "rollback.toml"
    file.write_text('redis_ulr = "rediss://default:S3CRET@host:6379"\n')

    with pytest.raises(SettingsInvalid) as raised:
        Settings.load(file)

    shown = "".join(traceback.format_exception(raised.value))
    assert "redis_ulr" in shown
    assert "S3CRET" not in shown


@pytest.mark.parametrize(("value", "unattended"), [("", True), ("false", False)])
def test_a_gate_may_be_kept_from_the_schema(
    monkeypatch: pytest.MonkeyPatch, value: str, *, unattended: bool
) -> None:
    """The policy has what the setting says; by default it may."""
    monkeypatch.setenv("ROLLBACK_GATE_SCHEMA", value)

    assert policy(Settings.load()).schema_unattended is unattended
