"""`revlm` whose steps take long at the first start of a job, so that a signal comes in the midst of its run."""

import os
import sys
import time
from typing import Any

from revlm.cli import main
from revlm.training.step import TrainStep

SECONDS = 0.5

if "SLURM_RESTART_COUNT" not in os.environ:
    update = TrainStep.update

    def slow_update(*rest: Any, **options: Any) -> Any:
        time.sleep(SECONDS)
        return update(*rest, **options)

    TrainStep.update = slow_update  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
