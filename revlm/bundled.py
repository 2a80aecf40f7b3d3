"""Files that travel with revlm: the bundled recipes and the table of titles.

A wheel carries them inside the package; a source checkout keeps them at its top level. Which of the two is
running is found out here and nowhere else.
"""

from pathlib import Path

from revlm.errors import StorageError

PACKAGE_FOLDER = Path(__file__).parent


def bundled_path(name: str) -> Path:
    """The bundled file or folder of that name, such as `recipes` or `data/titles.tsv`.

    Raises StorageError where neither the package nor the checkout holds it.
    """
    for folder in (PACKAGE_FOLDER, PACKAGE_FOLDER.parent):
        path = folder / name
        if path.exists():
            return path
    raise StorageError(
        f"{name} is missing from the installation in {PACKAGE_FOLDER}: install revlm again, "
        "from its wheel or with `pip install -e .` in a whole checkout"
    )
