"""`revlm` whose steps take long at the first start of a job, so that a signal comes in the midst of its run."""

import os
import sys
import time
from typing import Any

from revlm.cli import main
from revlm.training.update import Updates

SECONDS = 0.5

if "SLURM_RESTART_COUNT" not in os.environ:
    update = Updates.update

    def slow_update(*rest: Any, **options: Any) -> Any:
        time.sleep(SECONDS)
        return update(*rest, **options)

    Updates.update = slow_update  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
