"""Under pytest, the axes in the signatures of the ops and the model are checked on every call."""

import os

from hypothesis import settings
from jaxtyping import install_import_hook

# Tensors of tests are small: threads would spend most of their time on waiting for each other. Read by PyTorch when it
# is imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
install_import_hook(["revlm.ops", "revlm.model"], "beartype.beartype")
# An example may take long beside other work on the machine; that is no defect.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
