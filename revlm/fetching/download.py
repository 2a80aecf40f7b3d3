"""Downloads over HTTPS, complete or not at all, bounded in bytes and time, through the configured proxies."""

import base64
import http.client
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import NamedTuple

from revlm.fetching.deadline import Deadline
from revlm.fetching.failure import SourceFailure

WAIT_SECONDS = 6.0  # the longest single wait: to connect, and for the next bytes
CHUNK_BYTES = 1 << 16


class Response(NamedTuple):
    """A complete body, its content type, and the final address after redirects."""

    body: bytes
    content_type: str
    url: str


@dataclass(frozen=True)
class Network:
    """Network settings that override the environment's.

    Attributes:
        ca_file: additional certificates to trust.
        proxy: the proxy for every address, instead of http_proxy and https_proxy.
    """

    ca_file: str | None = None
    proxy: str | None = None

    def opener(self) -> urllib.request.OpenerDirector:
        """Returns an opener for HTTP and HTTPS only, also across redirects."""
        context = ssl.create_default_context()
        if self.ca_file:
            context.load_verify_locations(self.ca_file)
        proxies = {"http": self.proxy, "https": self.proxy} if self.proxy else None
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(proxies),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            opener.add_handler(handler)
        return opener


def download(
    url: str, deadline: Deadline, *, limit_bytes: int, accept: str = "*/*", network: Network | None = None
) -> Response:
    """Returns the response of an address; a user and password in the address are sent only to its own host.

    Raises SourceFailure where the address cannot be reached, or the body exceeds `limit_bytes` or breaks off, and
    urllib.error.HTTPError where the server answers with an error status.
    """
    address, authorization = without_credentials(url)
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "revlm fetch", "Accept": accept})
        if authorization:
            request.add_unredirected_header("Authorization", authorization)
        with (network or Network()).opener().open(request, timeout=WAIT_SECONDS) as response:
            body = _read_whole(response, address, deadline, limit_bytes)
            return Response(body, response.headers.get("Content-Type", ""), response.geturl())
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise SourceFailure(f"{address} cannot be reached ({reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise SourceFailure(f"{address} broke off ({error or type(error).__name__})") from None
    except ValueError as error:  # urllib rejects the URL
        raise SourceFailure(f"{address} is not a valid address ({error})") from None


def without_credentials(url: str) -> tuple[str, str | None]:
    """Returns an address without user and password, and the Authorization header for them, None where there are none.

    Raises SourceFailure where the address is not valid.
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise SourceFailure(f"{url} is not a valid address ({error})") from None
    user, has_user, host = parts.netloc.rpartition("@")
    if not has_user:
        return url, None
    pair = urllib.parse.unquote(user)
    pair = pair if ":" in pair else f"{pair}:"
    return parts._replace(netloc=host).geturl(), "Basic " + base64.b64encode(pair.encode()).decode()


def _read_whole(response: http.client.HTTPResponse, url: str, deadline: Deadline, limit_bytes: int) -> bytes:
    announced = response.headers.get("Content-Length")
    if announced is not None and not (announced.isascii() and announced.isdecimal() and len(announced) < 20):
        raise SourceFailure(f"{url} cannot be checked: its server announces a length of {announced!r}")
    received = bytearray()
    while chunk := response.read1(CHUNK_BYTES):
        deadline.require_time_left()
        received += chunk
        if len(received) > limit_bytes:
            raise SourceFailure(f"{url} is larger than {limit_bytes:,} bytes")
    if announced is not None and len(received) != int(announced):
        raise SourceFailure(f"{url} is truncated: {len(received):,} of {int(announced):,} bytes arrived")
    return bytes(received)
