"""The tour: the service shown at work on the sample archive, by the commands a user would type."""

import csv
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo.errors import DemoError
from worker.settings import Settings, settings
