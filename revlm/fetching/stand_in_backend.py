"""A build backend that builds nothing and runs nothing of the package.

To download a source package, pip asks the package's build backend for its metadata, and for a package with
only a `setup.py` that backend runs it. This module, put in the place of `setuptools.build_meta`, answers with
the metadata that every source package already carries in PKG-INFO.
"""

import email.parser
import shutil
import sys
from pathlib import Path


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: dict[str, str] | None = None) -> str:
    """The name of the metadata folder, made from PKG-INFO in the working folder (a hook of PEP 517)."""
    with open("PKG-INFO", encoding="utf-8") as file:
        package = email.parser.HeaderParser().parse(file)
    folder = Path(metadata_directory, f"{package['Name'].replace('-', '_')}-{package['Version']}.dist-info")
    folder.mkdir()
    shutil.copy("PKG-INFO", folder / "METADATA")
    return folder.name


# pip asks for the attribute of this name where a package has no pyproject.toml.
__legacy__ = sys.modules[__name__]
