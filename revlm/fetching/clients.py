"""The registries and proxies for which the user's pip and npm are configured.

They are read from the environment and from the configuration files of the user and the machine, with the clients'
precedence. A `.npmrc` in the working directory is ignored, since it may come with somebody else's project. Tokens are
not read; a user and password in an address are used.
"""

import configparser
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from revlm.fetching.download import Network

NPM_REGISTRY = "https://registry.npmjs.org"
PYPI_INDEX = "https://pypi.org/simple"


@dataclass(frozen=True)
class Registry:
    """The addresses at which a client looks for packages, in order, and its network settings."""

    urls: tuple[str, ...]
    network: Network


def npm_registry(package: str, environ: Mapping[str, str] = os.environ) -> Registry:
    """Returns the registry that npm uses for a package: its scope's, where one is configured."""
    settings = _npm_settings(environ)
    scope = package.partition("/")[0] if package.startswith("@") else None
    url = (settings.get(f"{scope}:registry") if scope else None) or settings.get("registry") or NPM_REGISTRY
    proxy = settings.get("https-proxy") or settings.get("proxy")
    ca_file = settings.get("cafile") or environ.get("NODE_EXTRA_CA_CERTS")
    return Registry((url.rstrip("/"),), Network(_existing(ca_file), _none(proxy)))


def pip_indexes(environ: Mapping[str, str] = os.environ) -> Registry:
    """Returns the indexes that pip uses, web addresses only; none with `no-index`."""
    settings = _pip_settings(environ)
    network = Network(_existing(settings.get("cert")), _none(settings.get("proxy")))
    if settings.get("no-index", "").strip().lower() in {"1", "true", "yes", "on"}:
        return Registry((), network)
    urls = [settings.get("index-url", PYPI_INDEX), *settings.get("extra-index-url", "").split()]
    return Registry(tuple(url.rstrip("/") for url in urls if url.startswith(("https://", "http://"))), network)


def _npm_settings(environ: Mapping[str, str]) -> dict[str, str]:
    given = {
        name[len("npm_config_") :].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.lower().startswith("npm_config_") and value
    }
    settings: dict[str, str] = {}
    for path in (
        given.get("globalconfig") or _npm_prefix(given, environ) / "etc" / "npmrc",
        given.get("userconfig") or _home(environ) / ".npmrc",
    ):
        for line in _lines(Path(path)):
            key, _, value = line.partition("=")
            value = re.sub(r"\$\{(\w+)\??\}", lambda name: environ.get(name[1], ""), value.strip().strip("\"'"))
            settings[key.strip().lower()] = value
    return settings | given


def _npm_prefix(given: Mapping[str, str], environ: Mapping[str, str]) -> Path:
    if prefix := given.get("prefix") or environ.get("PREFIX"):
        return Path(prefix)
    node = shutil.which("node", path=environ.get("PATH"))
    return Path(node).resolve().parent.parent if node else Path("/usr/local")


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string("\n".join(_lines(path, comments=True)))
        except configparser.Error:
            continue  # pip itself reports such a file
        for section in ("global", "download"):
            if parser.has_section(section):
                settings |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    given = {
        name[len("PIP_") :].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }
    return settings | given


def _pip_files(environ: Mapping[str, str]) -> Iterable[Path]:
    """Yields the configuration files of pip; later ones take precedence."""
    only = environ.get("PIP_CONFIG_FILE")
    if only == os.devnull:
        return
    home = _home(environ)
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
    for folder in reversed((environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)):
        yield Path(folder) / "pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    if sys.platform == "darwin":
        yield home / "Library" / "Application Support" / "pip" / "pip.conf"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if only:
        yield Path(only)


def _lines(path: Path, *, comments: bool = False) -> list[str]:
    """Returns the lines of a configuration file; none where it cannot be read, as the clients do."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if comments or line.strip()[:1] not in {"", "#", ";"}]


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path("~").expanduser())


def _existing(path: str | None) -> str | None:
    return path if path and Path(path).is_file() else None


def _none(value: str | None) -> str | None:
    """Returns a setting, or None where npm stores it as `null`, `false` or an empty string."""
    return None if value in {None, "", "null", "false"} else value
