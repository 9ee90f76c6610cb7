"""Settings of the service, read from the environment (`MERNET_...`) and validated."""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mernet.pds.selection import ProductKind
from mernet.suggestions import did_you_mean
from mernet.worker.embedded_urls import embedded_broker_url, embedded_database_url
from mernet.worker.errors import SettingsError

PREFIX = "MERNET_"
FOR_TESTS = "MERNET_REAL_FILES"
"""The folder of the real archive files; only the tests read it."""

Positive = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(BaseSettings):
    """All settings with their defaults and units.

    The environment variable of a setting is MERNET_ and its name in capitals.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    database_url: str | None = Field(
        None,
        description="Postgres, as postgresql://user:password@host/name; "
        "by default an embedded server in data_dir.",
    )
    broker_url: str | None = Field(
        None,
        description="Redis, as redis://:password@host:6379/0; "
        "by default an embedded server in data_dir.",
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("mernet"),
        validate_default=True,
        description="Folder of the embedded servers, the checkpoints and the sample archive.",
    )
    reader_password: SecretStr | None = Field(
        None, description="Password that `mernet db reader` sets; by default it asks for one."
    )
    checkpoint: Path | None = Field(
        None, description="Checkpoint that `mernet classify` uses by default."
    )

    chunk_size: Annotated[int, Field(gt=0, le=10_000)] = Field(
        32, description="Products in a chunk, the unit of work of a worker."
    )
    chunk_attempts: Positive = Field(
        3, description="Failed attempts after which a chunk is split in two."
    )
    lease_seconds: PositiveSeconds = Field(
        90, description="Seconds without a heartbeat before a chunk is reassigned."
    )
    sweep_seconds: PositiveSeconds = Field(
        20, description="Seconds between sweeps for stalled work."
    )
    chunk_time_limit: Positive = Field(
        2 * 3600, description="Longest time for one chunk in seconds; then its process is killed."
    )
    listing_time_limit: Positive = Field(
        4 * 3600,
        description="Longest time for the listing of one run, or for one ingest, in seconds; then "
        "its process is killed.",
    )

    ingest_seconds: PositiveSeconds | None = Field(
        None,
        description="Seconds between two automatic checks for new products; by default there are "
        "none, and only `mernet run new` checks.",
    )
    ingest_archives: Annotated[tuple[str, ...], NoDecode] = Field(
        ("opportunity", "spirit"),
        min_length=1,
        description="Archives to check for new products: names, URLs or paths with spaces between.",
    )
    ingest_mirror: str | None = Field(
        None, description="URL or path that replaces the base of the archives in ingest_archives."
    )
    ingest_products: ProductKind = Field(
        "edr", description="New products to classify: raw ones (edr), derived ones (rdr), or any."
    )

    fetch_threads: Positive = Field(
        8, description="Images that a process fetches and decodes at the same time."
    )
    connections_per_host: Positive = Field(
        8, description="Maximum connections of a worker, all its processes, to an archive host."
    )
    redirect_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts, besides the one asked for, to which an archive may redirect; names "
        "with spaces between.",
    )
    fetch_attempts: Positive = Field(
        5, description="Attempts to transfer a file before the transfer has failed."
    )
    fetch_timeout: PositiveSeconds = Field(
        120, description="Longest time for one attempt to transfer an image, in seconds."
    )
    max_image_bytes: Positive = Field(
        64 * 2**20, description="Largest accepted product file, in bytes."
    )
    contact: str = Field(
        "operator not named; set MERNET_CONTACT",
        description="Contact of the operator, sent to archives in the User-Agent: a mail address "
        "or a web page.",
    )

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Device of the classifier; auto uses a GPU if one is available."
    )
    batch_size: Positive | None = Field(
        None, description="Images in one pass of the classifier; by default it suits the device."
    )

    log_level: LogLevel = Field(
        "INFO", description="Lowest level of the lines in a worker's log, on standard error."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of a worker's log: text for people, json for programs."
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address at which a worker serves its metrics."
    )
    metrics_port: Annotated[int, Field(gt=0, lt=65536)] | None = Field(
        None, description="Port at which a worker serves its metrics; by default it serves none."
    )

    @field_validator("ingest_archives", "redirect_hosts", mode="before")
    @classmethod
    def _split_at_spaces(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("data_dir")
    @classmethod
    def _make_absolute(cls, folder: Path) -> Path:
        return folder.expanduser().resolve()

    @field_validator("database_url")
    @classmethod
    def _check_postgres_url(cls, url: str | None) -> str | None:
        return _check_url(url, ("postgresql", "postgresql+psycopg2"))

    @field_validator("broker_url")
    @classmethod
    def _check_redis_url(cls, url: str | None) -> str | None:
        parsed = _check_url(url, ("redis", "rediss", "redis+socket"))
        if parsed and urlsplit(parsed).scheme != "redis+socket":
            number = urlsplit(parsed).path.strip("/")
            if number and not number.isdecimal():
                raise ValueError(f"ends in {number!r}, but a Redis database is a number")
        return parsed

    @property
    def database(self) -> str:
        """URL of the ledger: `database_url` if set, else the embedded server's."""
        return self.database_url or embedded_database_url(self.data_dir)

    @property
    def broker(self) -> str:
        """URL of the broker: `broker_url` if set, else the embedded server's."""
        return self.broker_url or embedded_broker_url(self.data_dir)

    @property
    def checkpoints(self) -> Path:
        """Folder of the registered checkpoints."""
        return self.data_dir / "checkpoints"

    @property
    def demo_checkpoint(self) -> Path:
        """The checkpoint that the demo trains; it knows drawn scenes only."""
        return self.data_dir / "demo" / "drawn-scenes.safetensors"

    @property
    def visibility_timeout(self) -> int:
        """Seconds after which Redis delivers an unacknowledged message again.

        It is longer than any task may run, so that no message is delivered again while its worker
        is still busy with it.
        """
        return max(self.chunk_time_limit, self.listing_time_limit) + 600


def _check_url(url: str | None, schemes: tuple[str, ...]) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(
            "has a port that is not a number from 0 to 65535; in a password, write / as %2F, : as "
            "%3A, @ as %40"
        ) from None
    return url


def _refuse_unknown_variables(names: Iterable[str]) -> None:
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    for name in names:
        if name not in known | {FOR_TESTS}:
            raise SettingsError(
                f"The setting {name} does not exist{did_you_mean(name, known)} "
                "The file mernet/worker/settings.py lists all."
            )


@cache
def settings() -> Settings:
    """Return the settings of this process, which are read once.

    Raises:
        SettingsError: If a variable is unknown or its value cannot be used; the message names each.
    """
    _refuse_unknown_variables(name for name in os.environ if name.startswith(PREFIX))
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(_describe_fault(fault) for fault in error.errors())
        raise SettingsError(f"These settings cannot be used: {faults}.") from error


def _describe_fault(fault: ErrorDetails) -> str:
    """Return what is wrong with a setting in words of ours; Pydantic's are for programmers."""
    name = f"MERNET_{'_'.join(map(str, fault['loc'])).upper()}"
    given, limits = fault["input"], fault.get("ctx", {})
    match fault["type"]:
        case "value_error":
            return f"{name} {fault['msg'].removeprefix('Value error, ')}"
        case "int_parsing" | "int_from_float" | "int_type" | "int_parsing_size":
            expected = "a whole number"
        case "float_parsing" | "float_type" | "finite_number":
            expected = "a number"
        case "greater_than":
            expected = f"greater than {limits['gt']}"
        case "greater_than_equal":
            expected = f"at least {limits['ge']}"
        case "less_than":
            expected = f"less than {limits['lt']}"
        case "less_than_equal":
            expected = f"at most {limits['le']}"
        case "literal_error":
            expected = str(limits["expected"])
        case "too_short":
            expected = "at least one name, URL or path"
        case _:
            return f"{name}: {fault['msg']}"
    return f"{name} must be {expected}, not {str(given)!r}"
