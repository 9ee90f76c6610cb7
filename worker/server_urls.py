"""URLs of servers: a password or parameters put in, or the password left out for showing it."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit, urlunsplit


def with_password(url: str, password: str | None) -> str:
    """Return the URL with this password, or as it is if there is none to put in."""
    if password is None:
        return url
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}"))


def with_parameters(url: str, parameters: Mapping[str, object]) -> str:
    """Return the URL with those parameters that have a value, in place of its own."""
    given = {name: str(value) for name, value in parameters.items() if value is not None}
    if not given:
        return url
    parts = urlsplit(url)
    kept = [each for each in parts.query.split("&") if each and each.split("=")[0] not in given]
    return urlunsplit(parts._replace(query="&".join([*kept, urlencode(given, quote_via=quote)])))
