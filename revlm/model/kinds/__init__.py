"""The kinds of attention layers, one file each, by their names in a recipe (`revlm.recipe.LayerKind`)."""

from revlm.model.kinds.full import FULL
from revlm.model.kinds.kind import Kind
from revlm.model.kinds.local import LOCAL
from revlm.model.kinds.lsh import LSH
from revlm.recipe import LayerKind

__all__ = ["KINDS", "Kind"]

KINDS: dict[LayerKind, Kind] = {"local": LOCAL, "lsh": LSH, "full": FULL}
