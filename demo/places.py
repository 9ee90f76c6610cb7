"""Where the demo keeps what it makes, below the data folder."""

from pathlib import Path

from worker.settings import Settings

DEMO_CLASSIFIER = "demo-drawn-scenes"
"""Name of the classifier that the demo makes."""


def sample_archive(config: Settings) -> Path:
    """The folder of the sample archive."""
    return config.data_dir / "demo" / "archive"


def demo_checkpoint(config: Settings) -> Path:
    """The checkpoint that the demo makes; it knows drawn scenes only."""
    return config.data_dir / "demo" / "drawn-scenes.safetensors"
