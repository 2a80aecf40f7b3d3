"""Files bundled with revlm: the recipes and the table of titles.

A wheel has them inside the package, a source checkout at its top level. Only this module tells the two apart.
"""

from pathlib import Path

from revlm.errors import StorageError

PACKAGE_FOLDER = Path(__file__).parent


def bundled_path(name: str) -> Path:
    """The bundled file or folder of that name, such as `recipes` or `data/titles.tsv`.

    Raises StorageError if neither the package nor the checkout has it.
    """
    for folder in (PACKAGE_FOLDER, PACKAGE_FOLDER.parent):
        path = folder / name
        if path.exists():
            return path
    raise StorageError(
        f"{name} is missing from the installation in {PACKAGE_FOLDER}: reinstall revlm, "
        "from its wheel or with `pip install -e .` in a complete checkout"
    )
