"""A raw product (EDR): the facts in its label and in its row of the index, without the pixels."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mernet.pds.product import ProductName, Rover

MARS_DAY = timedelta(seconds=88775.244)
CLOCK_ZERO = datetime(2000, 1, 1, 11, 58, 55, tzinfo=UTC)
FILTER_NAMES = {
    "L2": "PANCAM_L2_753NM",
    "L7": "PANCAM_L7_440NM",
    "L8": "PANCAM_L8_440NM_SOL_ND5",
    "R2": "PANCAM_R2_754NM",
}


@dataclass(frozen=True, slots=True)
class Mission:
    """A rover's names in the archive, and the start of its first sol (local midnight, in UTC)."""

    host_id: str
    host_name: str
    volume: str
    first_midnight: datetime
    serial: int


MISSIONS: dict[Rover, Mission] = {
    Rover.OPPORTUNITY: Mission(
        "MER1",
        "MARS EXPLORATION ROVER 1",
        "mer1po_0xxx",
        datetime(2004, 1, 24, 15, 20, tzinfo=UTC),
        115,
    ),
    Rover.SPIRIT: Mission(
        "MER2",
        "MARS EXPLORATION ROVER 2",
        "mer2po_0xxx",
        datetime(2004, 1, 3, 13, 46, tzinfo=UTC),
        103,
    ),
}


@dataclass(frozen=True, slots=True)
class Edr:
    """One raw product.

    `hour` is the local true solar time in hours. `motion` is the rover motion counter (site, drive,
    IDD, PMA, HGA), complete even if the name has `##`. If `companded`, samples of 16 bits hold 8.
    """

    name: ProductName
    sol: int
    hour: float
    motion: tuple[int, int, int, int, int]
    lines: int
    line_samples: int
    companded: bool

    @property
    def mission(self) -> Mission:
        """The rover's names in the archive."""
        return MISSIONS[self.name.rover]

    @property
    def file_name(self) -> str:
        """Lower case, `__` for `##`."""
        return f"{self.name.file_stem}.img"

    @property
    def path_name(self) -> str:
        """The folder of the file as the index writes it: the volume comes first."""
        return f"/{self.mission.volume}/data/sol{self.sol:04d}/edr/"

    @property
    def browse_path(self) -> str:
        """Path of the browse image; the volume comes first."""
        return f"{self.mission.volume}/browse/sol{self.sol:04d}/edr/{self.file_name}.jpg"

    @property
    def start(self) -> datetime:
        """When the picture was taken (UTC)."""
        return time_of(self.name.rover, self.sol, self.hour)

    @property
    def created(self) -> datetime:
        """When the file was created on the ground (UTC)."""
        return self.start + timedelta(days=3)

    @property
    def solar_time(self) -> str:
        """Local true solar time as hh:mm:ss."""
        seconds = round(self.hour * 3600)
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    @property
    def eye(self) -> str:
        """LEFT or RIGHT."""
        return "LEFT" if self.name.eye == "L" else "RIGHT"

    @property
    def filter_name(self) -> str:
        """The archive's name of the filter."""
        return FILTER_NAMES[f"{self.name.eye}{self.name.filter}"]

    @property
    def phase(self) -> str:
        """Primary mission for 90 sols, extended from then on."""
        return "PRIMARY MISSION" if self.sol <= 90 else "EXTENDED MISSION"

    @property
    def averaging(self) -> int:
        """Detector pixels averaged into one, in each direction."""
        return 2 if self.name.product_type == "EDN" else 1


def time_of(rover: Rover, sol: int, hour: float) -> datetime:
    """Return the UTC time, to the second, of a local solar hour on a sol of 88,775 s."""
    elapsed = MARS_DAY * (sol - 1 + hour / 24)
    return (MISSIONS[rover].first_midnight + elapsed).replace(microsecond=0)


def clock_of(moment: datetime) -> int:
    """Return the spacecraft clock: seconds since 11:58:55 UTC on 1 January 2000."""
    return round((moment - CLOCK_ZERO).total_seconds())
