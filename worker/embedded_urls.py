"""URLs of the embedded servers in a data folder; knowing them loads no database driver."""

from pathlib import Path
from urllib.parse import quote


def embedded_database_url(data_dir: Path) -> str:
    """Return the URL of the embedded Postgres, whose Unix socket is in its own data folder."""
    return f"postgresql://postgres@/mernet?host={quote(str(data_dir / 'postgres'))}"


def embedded_broker_url(data_dir: Path) -> str:
    """Return the URL of the embedded Redis in the form that Celery reads for a Unix socket."""
    return f"redis+socket://{quote(str(data_dir / 'redis' / 'redis.sock'))}"
