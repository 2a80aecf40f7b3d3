"""Under pytest, the axes in the signatures of the ops and the model are checked on every call."""

from jaxtyping import install_import_hook

install_import_hook(["revlm.ops", "revlm.model"], "beartype.beartype")
