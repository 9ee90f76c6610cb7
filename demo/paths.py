"""Where the demo keeps what it makes, below the data folder."""

from pathlib import Path

from mernet.worker.settings import Settings


def sample_archive(config: Settings) -> Path:
    """The folder of the sample archive."""
    return config.data_dir / "demo" / "archive"
