"""The settings: one frozen value, read once, in `cli.py`.

Precedence: flags, then the environment, then `rollback.toml`, then the defaults, which
are the spec's. Secrets are `SecretStr`, so that neither a log nor a report shows them.
"""

from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .errors import SettingMissing, SettingsInvalid

__all__ = ["Settings"]

CRITICAL_ERRORS = (
    "STRIPE_WEBHOOK_FAILED",
    "DATABASE_CONNECTION_LOST",
    "AUTH_SERVICE_DOWN",
)


def _named(*names: str, **options: Any) -> Any:
    """A field read from environment variables that have names of their own."""
    return Field(validation_alias=AliasChoices(*names), **options)


class Settings(BaseSettings):
    """Everything that the command needs to know. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="ROLLBACK_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
    )

    environment: Literal["production", "staging"] = "production"

    # Where things are
    ledger_url: SecretStr | None = _named(
        "ROLLBACK_LEDGER_URL", "DATABASE_URL", default=None
    )
    # The application's own; the ledger's where that has none.
    database_url: SecretStr | None = _named("DATABASE_URL", default=None)
    # A direct or session address, where the first is that of a transaction pooler.
    database_direct_url: SecretStr | None = _named(
        "DATABASE_DIRECT_URL", "DATABASE_URL", default=None
    )
    redis_url: SecretStr | None = _named("REDIS_URL", "UPSTASH_REDIS_URL", default=None)
    site_url: str | None = None
    api_url: str | None = None
    vercel_token: SecretStr | None = _named("VERCEL_TOKEN", default=None)
    vercel_team_id: str | None = _named("VERCEL_TEAM_ID", default=None)
    vercel_project_id: str | None = _named("VERCEL_PROJECT_ID", default=None)
    vercel_api_project_id: str | None = _named("VERCEL_API_PROJECT_ID", default=None)
    vercel_bypass_secret: SecretStr | None = _named(
        "VERCEL_AUTOMATION_BYPASS_SECRET", default=None
    )
    vercel_api_url: str = _named("VERCEL_API_URL", default="https://api.vercel.com")
    sentry_auth_token: SecretStr | None = _named("SENTRY_AUTH_TOKEN", default=None)
    sentry_org: str | None = _named("SENTRY_ORG", default=None)
    sentry_project: str | None = _named("SENTRY_PROJECT", default=None)
    sentry_url: str = _named("SENTRY_URL", default="https://sentry.io")
    prometheus_url: SecretStr | None = _named("PROMETHEUS_URL", default=None)
    prometheus_token: SecretStr | None = _named("PROMETHEUS_TOKEN", default=None)
    slack_webhook_url: SecretStr | None = _named("SLACK_WEBHOOK_URL", default=None)
    fingerprint_key: SecretStr | None = None
    # What the ledger is told when it can be reached again.
    spool: Path = Path(".rollback/spool")

    # The database: its migrations, its backups (a folder, or an fsspec address).
    migrations: Path = Path("migrations")
    schemas: Annotated[tuple[str, ...], NoDecode] = ("public",)
    backups: str = ".rollback/backups"
    backups_kept: int = Field(default=10, ge=1)
    backup_jobs: int = Field(default=2, ge=1, le=64)
    # The folder of pg_dump and pg_restore, of the server's major version.
    postgres_programs: Path | None = None
    # A server where scratch databases may be made; the application's own without it.
    scratch_url: SecretStr | None = None
    lock_timeout_ms: int = Field(default=500, ge=1, le=60_000)
    lock_attempts: int = Field(default=20, ge=1, le=1000)
    stall_limit_seconds: float = Field(default=5, gt=0)
    migration_timeout_seconds: float = Field(default=300, gt=0)
    # Whether a gate, which asks nobody, may take the schema back.
    gate_schema: bool = True
    # What `recover` may empty: keys by prefix in Redis, and tags at the edge.
    cache_prefixes: Annotated[tuple[str, ...], NoDecode] = ()
    cache_tags: Annotated[tuple[str, ...], NoDecode] = ()

    # What is bad (the spec's decision matrix)
    error_rate: float = Field(default=0.05, gt=0, lt=1)
    response_time_ms: float = Field(default=3000, gt=0)
    slow_share: float = Field(default=0.05, gt=0, lt=1)
    availability: float = Field(default=0.99, gt=0, le=0.999999)
    critical_errors: Annotated[tuple[str, ...], NoDecode] = CRITICAL_ERRORS
    window_seconds: float = Field(default=300, ge=1, le=86_400)
    min_requests: int = Field(default=1000, ge=1)
    healthy_requests: int = Field(default=100, ge=1)
    alpha: float = Field(default=1e-3, gt=0, lt=1)
    # Longer batches where healthy traffic fails in bursts of several seconds.
    batch_seconds: int = Field(default=1, ge=1, le=60)
    evidence_cap: float = Field(default=8.0, gt=1, le=1e6)
    horizon_seconds: int = Field(default=1800, ge=1)
    strict_window: bool = False
    silence_seconds: int = Field(default=30, ge=1)

    # How it is looked at
    # Four a second make the thousand in five minutes that the literal rule asks for.
    probe_rate: float = Field(default=4.0, gt=0, le=100)
    probe_path: str = "/"
    probe_timeout_seconds: float = Field(default=5.0, gt=0)
    baseline: bool = True  # measure the stable deployment beside the candidate
    look_every_seconds: float = Field(default=1.0, gt=0)
    error_poll_seconds: float = Field(default=2.0, gt=0)
    # PromQL; without it the questions of adapters/promql.py. Lag: docs/sources.md.
    prometheus_requests: str | None = None
    prometheus_failed: str | None = None
    prometheus_slow: str | None = None
    prometheus_step_seconds: int = Field(default=15, ge=1, le=300)
    prometheus_lag_seconds: int = Field(default=5, ge=1, le=300)
    # Off, as not every team traces; what is sampled keeps its proportions.
    sentry_transactions: bool = False
    sentry_dataset: Literal["spans", "transactions"] = "spans"
    sentry_lag_seconds: int = Field(default=30, ge=1, le=300)

    # How it is made sure
    healthy_in_a_row: int = Field(default=3, ge=1)
    move_timeout_seconds: float = Field(default=180, gt=0)
    # How long a purge is asked for again, and then looked for at the edge.
    purge_timeout_seconds: float = Field(default=30, gt=0)

    # The spec's time budgets
    identify_budget_seconds: float = 120
    initiate_budget_seconds: float = 60
    verify_budget_seconds: float = 180
    communicate_budget_seconds: float = 300

    @field_validator(
        "critical_errors", "schemas", "cache_prefixes", "cache_tags", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        """`A, B` in the environment is the same as `["A", "B"]` in the file."""
        if isinstance(value, str):
            return tuple(code.strip() for code in value.split(",") if code.strip())
        return value

    @classmethod
    def load(cls, config: Path | None = None, **flags: Any) -> "Settings":
        """Read the settings; raises `SettingsInvalid` naming what is wrong.

        `config` must exist when given; `rollback.toml` is read where it exists.
        """
        if config is not None and not config.is_file():
            raise SettingsInvalid(
                f"There is no settings file {config}.",
                mend="Give the path of one with --config, or leave it out.",
            )

        class FromFile(cls):  # type: ignore[valid-type,misc]  # pydantic-settings takes the file per class
            model_config = SettingsConfigDict(toml_file=config or "rollback.toml")

        try:
            loaded: Settings = FromFile(**flags)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise SettingsInvalid(
                f"The setting {name} is not valid: {first['msg']}."
            ) from None  # pydantic's own error shows the values, secrets among them
        except (TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsInvalid(
                f"{config or 'rollback.toml'} is not TOML: {error}."
            ) from error
        return loaded

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's face
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before file."""
        file = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, file

    def need(self, name: str, *, purpose: str) -> str:
        """The value of a setting that must be there; raises `SettingMissing`."""
        value = getattr(self, name)
        if value in (None, ""):
            raise SettingMissing(self._variable(name), purpose=purpose)
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    @classmethod
    def _variable(cls, name: str) -> str:
        alias = cls.model_fields[name].validation_alias
        if isinstance(alias, AliasChoices):
            return str(alias.choices[0])
        return f"ROLLBACK_{name.upper()}"
