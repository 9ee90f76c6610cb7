"""Where the files of an index table's rows are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from urllib.parse import quote, unquote, urljoin

from mernet.pds.disk import file_in_its_case, folders_in_their_case, in_its_case, is_file_url
from mernet.pds.plain_name import is_below, path_parts

DATA, BROWSE = "data", "browse"
Case = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a PATH_NAME.

    Attributes:
        url: Where it is by the label's rule.
        in_case: Writes a file's name in the case of the place.
        on_disk: Where it is on disk, if it is there.
    """

    url: str
    in_case: Case
    on_disk: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """Finds the files of a volume by PATH_NAME and FILE_NAME.

    PATH_NAME is relative to the volume, or begins with the volume's name or with that of another
    volume in the same folder. Its case may be that of another system than the one that serves it.

    Args:
        label_url: The URL of the index label, which is in the volume's index/ folder.
        is_mirror: Whether the label is at a mirror. Files then have the places that the archive's
            rule gives them, whatever the mirror has.
    """

    label_url: str
    is_mirror: bool = False
    _known: dict[str, Place | None] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def volume_url(self) -> str:
        """The URL of the volume's folder."""
        return urljoin(self.label_url, "../")

    @cached_property
    def base_url(self) -> str:
        """The URL of the folder that contains the volume."""
        return urljoin(self.label_url, "../../")

    @cached_property
    def volume(self) -> str:
        """The name of the volume's folder."""
        return unquote(self.volume_url.rstrip("/").rpartition("/")[2])

    def image_url(self, path_name: str, file_name: str) -> str | None:
        """Return the URL of a row's file; None if it would not be in the volume's neighbourhood."""
        place = self._place(path_name)
        if place is None:
            return None
        name = place.in_case(file_name)
        url = place.url + quote(name)
        if not is_below(url, self.base_url):
            return None
        found = (file_in_its_case(folder, name) for folder in place.on_disk)
        return next(filter(None, found), url)

    def url_to_read(self, url: str) -> str:
        """Return where a file is read: on disk its name may be in another case."""
        return in_its_case(self.base_url, url) or url

    def browse_url(self, image_url: str) -> str | None:
        """Return the URL of the browse image: data/ becomes browse/, and .jpg is added."""
        base, *parts = image_url.removeprefix(self.base_url).split("/")
        place = next((n for n, part in enumerate(parts) if part.lower() == DATA), None)
        if place is None:
            return None
        parts[place] = BROWSE.upper() if parts[place].isupper() else BROWSE
        return f"{self.base_url}{'/'.join([base, *parts])}.jpg"

    def _place(self, path_name: str) -> Place | None:
        """Return the folder of a PATH_NAME, looked for once; None if it leads elsewhere."""
        if path_name not in self._known:
            parts = path_parts(path_name)
            self._known[path_name] = None if parts is None else self._find(parts)
        return self._known[path_name]

    def _find(self, parts: list[str]) -> Place:
        """Return the folder of a PATH_NAME by its parts."""
        volume, inner, in_case = self._in_neighbourhood(parts)
        url = self._url(volume, inner)
        if self.is_mirror or not is_file_url(self.base_url):
            return Place(url, in_case)
        # On disk the volume may have another name, and its files names in another case.
        places = dict.fromkeys((url, self._url(self.volume, inner)))
        found = (folders_in_their_case(self.base_url, each) for each in places)
        return Place(url, in_case, tuple(chain.from_iterable(found)))

    def _in_neighbourhood(self, parts: list[str]) -> tuple[str, list[str], Case]:
        """Return the volume and the path in it that the parts of PATH_NAME mean, and their case."""
        lower = [part.lower() for part in parts]
        if self.volume.lower() in lower:
            place = lower.index(self.volume.lower())
            in_case = _case_of(self.volume, parts[place])
            return self.volume, list(map(in_case, parts[place + 1 :])), in_case
        if len(parts) > 1 and lower[0] != DATA and DATA in lower:  # another volume
            return parts[0], parts[1:], str
        return self.volume, parts, str

    def _url(self, volume: str, inner: list[str]) -> str:
        base = self.volume_url if volume == self.volume else f"{self.base_url}{quote(volume)}/"
        return base + "".join(f"{quote(name)}/" for name in inner)


def _case_of(served: str, listed: str) -> Case:
    """Return what writes a name in the case in which the server has the volume's name."""
    if served != listed and served.islower():
        return str.lower
    return str.upper if served != listed and served.isupper() else str
