"""The settings that all templates share: an undefined name is an error, and a line with only a tag leaves no line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def template_environment(package: str, **options: Any) -> "Environment":
    """Returns the environment of the folder `templates` of a package; `options` are jinja2's, such as `autoescape`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
