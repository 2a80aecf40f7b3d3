"""`revlm environment`: versions and hardware, for bug reports."""

import typer

from revlm.cli.options import AsJson
from revlm.cli.terminal.streams import print_json


def environment(
    as_json: AsJson = False,
) -> None:
    """Show versions, device, cores, memory and threads.

    Example: revlm environment --json
    """
    from revlm.runs import describe_environment

    described = describe_environment()
    if as_json:
        print_json(described, indent=2)
        return
    lines = {key: value for key, value in described.items() if key != "packages"} | described["packages"]
    width = max(map(len, lines))
    for key, value in lines.items():
        shown = f"{value / 2**30:.1f} GiB" if key.endswith("_bytes") else "none" if value is None else value
        typer.echo(f"{key.removesuffix('_bytes').replace('_', ' '):<{width}}  {shown}")
