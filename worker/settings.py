"""Settings of the service, read from the environment (`MERNET_...`) and checked."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mernet.worker.embedded_paths import embedded_broker_url, embedded_database_url
from mernet.worker.errors import SettingsError

PREFIX = "MERNET_"
FOR_TESTS = "MERNET_REAL_FILES"
"""Read by the tests alone: where the real archive files lie."""

Positive = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(BaseSettings):
    """Every setting, its default and unit; the variable is `MERNET_` and the name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    database_url: str | None = Field(
        None,
        description="Postgres, as postgresql://user:password@host/name; "
        "without it, an embedded server in data_dir.",
    )
    broker_url: str | None = Field(
        None,
        description="Redis, as redis://:password@host:6379/0; "
        "without it, an embedded server in data_dir.",
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("mernet"),
        validate_default=True,
        description="Folder of the embedded servers, the checkpoints and the sample archive.",
    )
    reader_password: SecretStr | None = Field(
        None, description="Password that `mernet db reader` gives; without it, it asks."
    )
    checkpoint: Path | None = Field(
        None, description="Checkpoint that `mernet classify` uses when none is given."
    )

    chunk_size: Annotated[int, Field(gt=0, le=10_000)] = Field(
        32, description="Products in a chunk, the unit of work a worker takes."
    )
    chunk_attempts: Positive = Field(
        3, description="Times a chunk may take its worker down before it is split."
    )
    lease_seconds: PositiveSeconds = Field(
        90, description="A chunk whose worker was not heard of for so long is given to another."
    )
    sweep_seconds: PositiveSeconds = Field(
        20, description="Time between two looks for work that has not moved."
    )
    chunk_time_limit: Positive = Field(
        2 * 3600, description="Longest time for one chunk, in seconds; then its process is ended."
    )
    listing_time_limit: Positive = Field(
        4 * 3600, description="Longest time for the listing of one run, in seconds."
    )

    ingest_seconds: PositiveSeconds | None = Field(
        None,
        description="Time between two looks for new products; without it, there is `mernet run "
        "new` alone.",
    )
    ingest_archives: Annotated[tuple[str, ...], NoDecode] = Field(
        ("opportunity", "spirit"),
        min_length=1,
        description="Archives looked at then: names, URLs or paths, with blanks in between.",
    )
    ingest_mirror: str | None = Field(
        None, description="URL or path that replaces the base of the archives named there."
    )
    ingest_products: Literal["edr", "rdr", "any"] = Field(
        "edr", description="Products looked for then: raw ones (edr), derived ones (rdr), or any."
    )

    fetch_threads: Positive = Field(
        8, description="Images fetched and decoded at once by a process."
    )
    connections_per_host: Positive = Field(
        8, description="Most connections of one worker, all its processes, to an archive host."
    )
    fetch_attempts: Positive = Field(5, description="Tries of one transfer before it has failed.")
    fetch_timeout: PositiveSeconds = Field(
        120, description="Longest time for one try of an image's transfer, in seconds."
    )
    max_image_bytes: Positive = Field(
        64 * 2**20, description="A larger product file is refused, in bytes."
    )
    contact: str = Field(
        "operator not named; set MERNET_CONTACT",
        description="Who runs this, told to archives in the User-Agent: a mail address or a page.",
    )

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the classifier runs; auto takes a GPU when there is one."
    )
    batch_size: Positive | None = Field(
        None, description="Images in one pass of the classifier; by default it suits the device."
    )

    log_level: LogLevel = Field(
        "INFO", description="From which level on a worker logs, on standard error."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines of a worker's log: text for people, json for programs."
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address on which a worker serves its metrics."
    )
    metrics_port: Annotated[int, Field(gt=0, lt=65536)] | None = Field(
        None, description="Port on which a worker serves its metrics; without it, it serves none."
    )

    @field_validator("ingest_archives", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().resolve()

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, url: str | None) -> str | None:
        return _with_scheme(url, ("postgresql", "postgresql+psycopg2"))

    @field_validator("broker_url")
    @classmethod
    def _redis(cls, url: str | None) -> str | None:
        parsed = _with_scheme(url, ("redis", "rediss", "redis+socket"))
        if parsed and urlsplit(parsed).scheme != "redis+socket":
            number = urlsplit(parsed).path.strip("/")
            if number and not number.isdecimal():
                raise ValueError(f"ends in {number!r}, but Redis databases have numbers")
        return parsed

    @property
    def database(self) -> str:
        """URL of the ledger: the one that was set, else the embedded server's."""
        return self.database_url or embedded_database_url(self.data_dir)

    @property
    def broker(self) -> str:
        """URL of the broker: the one that was set, else the embedded server's."""
        return self.broker_url or embedded_broker_url(self.data_dir)

    @property
    def checkpoints(self) -> Path:
        """Folder in which `mernet classifier add` keeps checkpoints."""
        return self.data_dir / "checkpoints"

    @property
    def demo_checkpoint(self) -> Path:
        """The checkpoint that `mernet demo` makes; it knows drawn scenes only."""
        return self.data_dir / "demo" / "drawn-scenes.safetensors"

    @property
    def visibility_timeout(self) -> int:
        """Seconds after which Redis hands an unacknowledged message out again.

        Longer than any task may run, so that a living worker's message is not handed out twice.
        """
        return max(self.chunk_time_limit, self.listing_time_limit) + 600


def _with_scheme(url: str | None, schemes: tuple[str, ...]) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(
            "has no number from 0 to 65535 as its port; in a password, write / as %2F, : as %3A, "
            "@ as %40"
        ) from None
    return url


def _refuse_unknown(names: Iterable[str]) -> None:
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    for name in names:
        if name not in known | {FOR_TESTS}:
            close = get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f"did you mean {close[0]}?" if close else "worker/settings.py lists them."
            raise SettingsError(f"There is no setting {name}; {hint}")


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises `SettingsError` naming each variable that cannot be used and why.
    """
    _refuse_unknown(name for name in os.environ if name.startswith(PREFIX))
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"MERNET_{'_'.join(map(str, fault['loc'])).upper()}: "
            + fault["msg"].removeprefix("Value error, ")
            for fault in error.errors()
        )
        raise SettingsError(f"These settings cannot be used: {faults}.") from error
