"""Settings of the service, read from the environment (`MERNET_...`) and validated."""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mernet.pds.selection import ProductKind
from mernet.printable import printable
from mernet.suggestions import did_you_mean
from mernet.worker.embedded_urls import embedded_broker_url, embedded_database_url
from mernet.worker.errors import SettingsError
from mernet.worker.server_urls import with_parameters, with_password

PREFIX = "MERNET_"
FOR_TESTS = "MERNET_REAL_FILES"
"""The folder of the real archive files; only the tests read it."""

LONGEST_VALUE = 4096  # characters; a path may have as many
Positive = Annotated[int, Field(gt=0, le=10**12)]
Few = Annotated[int, Field(gt=0, le=1000)]  # threads and connections, each of which costs memory
PositiveSeconds = Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
HOST = re.compile(r"[\w.-]+|[0-9a-f:]+", re.IGNORECASE)  # a name, an IPv4 or an IPv6 address
URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SECRET_BYTES = 4096
"""Largest size of a file that holds a password."""


class Settings(BaseSettings):
    """All settings with their defaults and units.

    The environment variable of a setting is MERNET_ and its name in capitals.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    database_url: str | None = Field(
        None,
        repr=False,
        description="Postgres, as postgresql://user@host/name; by default an embedded server in "
        "data_dir.",
    )
    database_password: SecretStr | None = Field(
        None, description="Password for database_url, if the URL has none."
    )
    database_password_file: Path | None = Field(
        None, description="File with the password for database_url."
    )
    database_sslmode: SslMode | None = Field(
        None, description="Encryption of the connection to Postgres, as libpq's sslmode."
    )
    database_ca_file: Path | None = Field(
        None, description="Certificates that Postgres's has to be signed with; needs verify-full."
    )
    broker_url: str | None = Field(
        None,
        repr=False,
        description="Redis, as redis://host:6379/0, or rediss:// for an encrypted connection; by "
        "default an embedded server in data_dir.",
    )
    broker_password: SecretStr | None = Field(
        None, description="Password for broker_url, if the URL has none."
    )
    broker_password_file: Path | None = Field(
        None, description="File with the password for broker_url."
    )
    broker_ca_file: Path | None = Field(
        None, description="Certificates that Redis's has to be signed with; for rediss://."
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("mernet"),
        validate_default=True,
        description="Folder of the embedded servers, the checkpoints and the sample archive.",
    )
    reader_password: SecretStr | None = Field(
        None, description="Password that `mernet db reader` sets; by default it asks for one."
    )
    reader_password_file: Path | None = Field(
        None, description="File with the password that `mernet db reader` sets."
    )
    owner_password_file: Path | None = Field(
        None, description="File with the password that `mernet db logins` gives mernet_owner."
    )
    worker_password_file: Path | None = Field(
        None, description="File with the password that `mernet db logins` gives mernet_worker."
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
        20, description="Seconds without a heartbeat before a chunk is reassigned."
    )
    sweep_seconds: PositiveSeconds = Field(
        5, description="Seconds between sweeps for stalled work."
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

    fetch_threads: Few = Field(
        8, description="Images that a process fetches and decodes at the same time."
    )
    connections_per_host: Few = Field(
        8, description="Maximum connections to an archive host, of all workers together."
    )
    wait_seconds: PositiveSeconds = Field(
        5, description="Shortest wait before an archive host that is down is tried again."
    )
    max_wait_seconds: PositiveSeconds = Field(
        300, description="Longest wait before an archive host that is down is tried again."
    )
    redirect_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts, besides the one asked for, to which an archive may redirect; names "
        "with spaces between.",
    )
    fetch_attempts: Few = Field(
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
    metrics_cert_file: Path | None = Field(
        None, description="Certificate with which all metrics are served over HTTPS."
    )
    metrics_key_file: Path | None = Field(None, description="Key of metrics_cert_file.")

    @field_validator("ingest_archives", "redirect_hosts", mode="before")
    @classmethod
    def _split_at_spaces(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("redirect_hosts")
    @classmethod
    def _check_host_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not HOST.fullmatch(host):
                raise ValueError(
                    f"must be names of hosts with spaces between, not '{printable(host, 100)}'"
                )
        return hosts

    @field_validator("data_dir")
    @classmethod
    def _make_absolute(cls, folder: Path) -> Path:
        if URL.match(str(folder)):
            raise ValueError("must be the path of a folder, not a URL")
        try:
            folder = folder.expanduser().resolve()
            folder.exists()  # raises for a path that no folder can have
            return folder
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: ~nosuchuser
            raise ValueError(f"is not a path ({printable(error)})") from error

    @field_validator("checkpoint")
    @classmethod
    def _expand_user(cls, file: Path | None) -> Path | None:
        try:
            return file and file.expanduser()
        except RuntimeError as error:  # ~nosuchuser
            raise ValueError(f"is not a path ({printable(error)})") from error

    @field_validator(
        "database_password_file",
        "database_ca_file",
        "broker_password_file",
        "broker_ca_file",
        "reader_password_file",
        "owner_password_file",
        "worker_password_file",
        "metrics_cert_file",
        "metrics_key_file",
    )
    @classmethod
    def _check_readable(cls, file: Path | None) -> Path | None:
        file = cls._expand_user(file)
        try:
            if file is not None and (file.is_dir() or not os.access(file, os.R_OK)):
                raise ValueError(f"{printable(file)} is missing or may not be read")
        except OSError as error:
            raise ValueError(f"is not a path ({printable(error.strerror)})") from error
        return file

    @model_validator(mode="after")
    def _check_one_password_each(self) -> Self:
        for server in ("database", "broker", "reader"):
            given = getattr(self, f"{server}_password"), getattr(self, f"{server}_password_file")
            if None not in given:
                raise ValueError(
                    f"MERNET_{server.upper()}_PASSWORD and its _FILE are both set; keep one"
                )
        if (self.metrics_cert_file is None) is not (self.metrics_key_file is None):
            raise ValueError("MERNET_METRICS_CERT_FILE and MERNET_METRICS_KEY_FILE need each other")
        return self

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
            if number and not number.isdecimal():  # not quoted: it may be part of a password
                raise ValueError(f"has to end in the number of a Redis database; {PERCENT}")
        return parsed

    @property
    def database(self) -> str:
        """URL of the ledger with password: `database_url` if set, else the embedded server's."""
        if self.database_url is None:
            return embedded_database_url(self.data_dir)
        secret = self.secret("database_password")
        tls = {"sslmode": self.database_sslmode, "sslrootcert": self.database_ca_file}
        return with_parameters(with_password(self.database_url, secret), tls)

    @property
    def broker(self) -> str:
        """URL of the broker with password: `broker_url` if set, else the embedded server's."""
        if self.broker_url is None:
            return embedded_broker_url(self.data_dir)
        return with_password(self.broker_url, self.secret("broker_password"))

    def secret(self, name: str) -> str | None:
        """Return the password in the setting `name`, or in the file that `name`_file names.

        Raises:
            SettingsError: The file cannot be read, is empty or far too large.
        """
        given: SecretStr | None = getattr(self, name, None)
        file: Path | None = getattr(self, f"{name}_file")
        if file is None:
            return None if given is None else given.get_secret_value()
        return read_secret(file)

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


PERCENT = "in a password, write / as %2F, : as %3A, @ as %40, [ as %5B"


def _check_url(url: str | None, schemes: tuple[str, ...]) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:  # it quotes a part of the URL, which may hold the password
        raise ValueError(f"has a host or password that no URL has; {PERCENT}") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"has a port that is not a number from 0 to 65535; {PERCENT}") from None
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" or parts.netloc.count("@") > 1:
        raise ValueError(f"has an @ in a wrong place; {PERCENT}")
    return url


def read_secret(file: Path) -> str:
    """Return the password in a file of one line.

    Raises:
        SettingsError: The file cannot be read, is empty, or holds something else.
    """
    try:
        with file.open("rb") as opened:
            secret = opened.read(SECRET_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The password in {printable(file)} cannot be read; correct the file."
        ) from error
    if not secret or len(secret) > SECRET_BYTES or "\0" in secret or "\n" in secret:
        raise SettingsError(
            f"The file {printable(file)} has to hold one line, the password; correct it."
        )
    return secret


def _refuse_unknown_variables(names: Iterable[str]) -> None:
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    for name in names:
        if name not in known | {FOR_TESTS}:
            raise SettingsError(
                f"The setting {printable(name)} does not exist{did_you_mean(name, known)} "
                "The file mernet/worker/settings.py lists all."
            )


def _refuse_unprintable_values() -> None:
    """Raise SettingsError for a value that no path, URL or name has; the value is not quoted."""
    for name, value in os.environ.items():
        if name.startswith(PREFIX) and value and not value.strip():
            raise SettingsError(
                f"The setting {printable(name)} holds nothing but blanks; remove it, or give a "
                "value."
            )
        if name.startswith(PREFIX) and not (value.isprintable() and len(value) <= LONGEST_VALUE):
            raise SettingsError(
                f"The setting {printable(name)} holds control characters, or more than "
                f"{LONGEST_VALUE} characters; correct it."
            )


@cache
def settings() -> Settings:
    """Return the settings of this process, which are read once.

    Raises:
        SettingsError: If a variable is unknown or its value cannot be used; the message names each.
    """
    _refuse_unknown_variables(name for name in os.environ if name.startswith(PREFIX))
    _refuse_unprintable_values()
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(_describe_fault(fault) for fault in error.errors())
        # Not `from error`, whose text quotes the values.
        raise SettingsError(f"These settings cannot be used: {faults}.") from None


def _describe_fault(fault: ErrorDetails) -> str:
    """Return what is wrong with a setting in words of ours; Pydantic's are for programmers."""
    name = f"MERNET_{'_'.join(map(str, fault['loc'])).upper()}"
    given, limits = fault["input"], fault.get("ctx", {})
    match fault["type"]:
        case "value_error" if not fault["loc"]:  # of several settings, which it names
            return fault["msg"].removeprefix("Value error, ")
        case "value_error":
            return f"{name} {printable(fault['msg'].removeprefix('Value error, '))}"
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
            return f"{name}: {printable(fault['msg'])}"
    return f"{name} must be {expected}, not '{printable(given, 100)}'"
