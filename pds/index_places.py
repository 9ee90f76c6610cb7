"""Where the files of an index table's rows are."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from urllib.parse import quote, unquote, urljoin

from mernet.pds.disk import is_file_url, path_from_url
from mernet.pds.plain_name import is_below, path_parts

DATA, BROWSE = "data", "browse"


@dataclass(frozen=True)
class Places:
    """Finds the files of a volume by PATH_NAME and FILE_NAME.

    PATH_NAME is relative to the volume, or begins with the volume's name or with that of another
    volume in the same folder. Its case may be that of another system than the one that serves it.

    Args:
        label_url: The URL of the index label, which is in the volume's index/ folder.
    """

    label_url: str

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
        parts = path_parts(path_name)
        if parts is None:
            return None
        url = self._url(*self._in_neighbourhood(parts, file_name))
        if not _exists(url):
            places = dict.fromkeys(self._other_places(parts, file_name))
            url = next(filter(_exists, places), url)
        return url if is_below(url, self.base_url) else None

    def browse_url(self, image_url: str) -> str | None:
        """Return the URL of the browse image: data/ becomes browse/, and .jpg is added."""
        base, *parts = image_url.removeprefix(self.base_url).split("/")
        place = next((n for n, part in enumerate(parts) if part.lower() == DATA), None)
        if place is None:
            return None
        parts[place] = BROWSE.upper() if parts[place].isupper() else BROWSE
        return f"{self.base_url}{'/'.join([base, *parts])}.jpg"

    def _in_neighbourhood(self, parts: list[str], file_name: str) -> tuple[str, list[str]]:
        """Return the volume and the path in it that the parts of PATH_NAME mean."""
        lower = [part.lower() for part in parts]
        if self.volume.lower() in lower:
            place = lower.index(self.volume.lower())
            inner = [*parts[place + 1 :], file_name]
            return self.volume, _in_case_of(self.volume, parts[place], inner)
        if len(parts) > 1 and lower[0] != DATA and DATA in lower:  # another volume
            return parts[0], [*parts[1:], file_name]
        return self.volume, [*parts, file_name]

    def _other_places(self, parts: list[str], file_name: str) -> list[str]:
        """Return other places on disk: in this volume whatever its name is, and in other cases."""
        volume, inner = self._in_neighbourhood(parts, file_name)
        cases = (tuple(inner), tuple(map(str.lower, inner)), tuple(map(str.upper, inner)))
        return [self._url(*place) for place in product((volume, self.volume), cases)]

    def _url(self, volume: str, inner: list[str] | tuple[str, ...]) -> str:
        base = self.volume_url if volume == self.volume else f"{self.base_url}{quote(volume)}/"
        return base + "/".join(map(quote, inner))


def _in_case_of(served: str, listed: str, inner: list[str]) -> list[str]:
    """Return names in the case in which the server has the volume's name."""
    if served == listed:
        return inner
    if served.islower():
        return [name.lower() for name in inner]
    return [name.upper() for name in inner] if served.isupper() else inner


def _exists(url: str) -> bool:
    """Return whether a file on disk exists; a file on the web is taken to."""
    if not is_file_url(url):
        return True
    try:
        return path_from_url(url).is_file()
    except (OSError, ValueError):
        return False
