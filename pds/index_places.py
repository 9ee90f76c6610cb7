"""Where the files of an index table's rows are."""

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, unquote, urljoin

from mernet.pds.disk import in_its_case
from mernet.pds.plain_name import is_below, path_parts

DATA, BROWSE = "data", "browse"


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
        volume, inner = self._in_neighbourhood(parts, file_name)
        url = self._url(volume, inner)
        if not is_below(url, self.base_url):
            return None
        if self.is_mirror:
            return url
        # On disk the volume may have another name, and its files names in another case.
        places = (url, self._url(self.volume, inner))
        found = (in_its_case(self.base_url, place) for place in places)
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

    def _url(self, volume: str, inner: list[str]) -> str:
        base = self.volume_url if volume == self.volume else f"{self.base_url}{quote(volume)}/"
        return base + "/".join(map(quote, inner))


def _in_case_of(served: str, listed: str, inner: list[str]) -> list[str]:
    """Return names in the case in which the server has the volume's name."""
    if served == listed:
        return inner
    if served.islower():
        return [name.lower() for name in inner]
    return [name.upper() for name in inner] if served.isupper() else inner
