"""Why a transfer failed, in a few words and with what helps: libraries nest errors in errors."""

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions

from mernet.printable import printable

DEEPEST = 10
"""Errors nested more deeply are not looked at."""

CHECK_NETWORK = "check the URL and this machine's network"
NOT_HTTP = "the answer does not follow the rules of HTTP"
TRY_LATER = "try again later"
CHECK_SERVER = "check that the server runs at this host and port"
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


def cause_and_remedy(
    error: Exception, connect_seconds: float, read_seconds: float
) -> tuple[str, str]:
    """Return why a transfer failed, and what to do.

    Args:
        error: What requests or urllib3 raised.
        connect_seconds: The time limit for a connection.
        read_seconds: The time limit for a single wait for data.
    """
    nested = list(_nested(error))
    for each in reversed(nested):  # the innermost says most
        match each:
            case socket.gaierror():
                return "the name of the host cannot be resolved", CHECK_NETWORK
            case ConnectionRefusedError():
                return "connection refused", CHECK_SERVER
            case ssl.SSLCertVerificationError():
                return f"its certificate is refused: {each.verify_message}", "check the URL"
            case ssl.SSLError():
                return "no encrypted connection could be made", "check that the URL needs https"
            case OSError() if each.errno in UNREACHABLE:
                return "the host cannot be reached", CHECK_NETWORK
            case http.client.RemoteDisconnected():  # a ConnectionResetError too
                return "the server closed the connection without an answer", TRY_LATER
            case ConnectionResetError() | BrokenPipeError():
                return "the server cut the connection", TRY_LATER
            case urllib3.exceptions.InvalidHeader():
                return NOT_HTTP, TRY_LATER
            case urllib3.exceptions.IncompleteRead() if isinstance(each.partial, int):
                return f"it ended after {each.partial:,} bytes", TRY_LATER
            case http.client.IncompleteRead():
                return "it ended too early", TRY_LATER
            case http.client.HTTPException():
                return NOT_HTTP, TRY_LATER
            case urllib3.exceptions.ConnectTimeoutError() | requests.ConnectTimeout():
                return f"no connection within {connect_seconds:g} s", CHECK_SERVER
            case urllib3.exceptions.ReadTimeoutError() | requests.ReadTimeout():
                return f"no answer within {read_seconds:g} s", TRY_LATER
            case requests.TooManyRedirects():
                return "it is redirected in a circle", "check the URL"
    if any(isinstance(each, TimeoutError) for each in nested):
        return f"no answer within {read_seconds:g} s", TRY_LATER
    if any(isinstance(each, ValueError) for each in nested):  # such as a length that is no number
        return NOT_HTTP, TRY_LATER
    return printable(nested[-1] if str(nested[-1]) else error), TRY_LATER


def _nested(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was made from, the outermost first."""
    for _ in range(DEEPEST):
        yield error
        inner = getattr(error, "reason", None)
        context = None if error.__suppress_context__ else error.__context__
        candidates = (inner, *error.args, error.__cause__, context)
        found = next((each for each in candidates if isinstance(each, BaseException)), None)
        if found is None:
            return
        error = found
