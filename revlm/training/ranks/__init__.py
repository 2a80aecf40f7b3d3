"""The ranks of a run, one or several: what they agree on, and what happens when one of them fails.

`Ranks` is the single rank of an ordinary run and the interface of all. `join_ranks` connects several (`process_group`):
each takes its GPU (`gpus`), gradients are summed in buffers (`gradients`), and while a rank waits for the others
(`waiting`), heartbeats (`monitoring`) tell which of them has failed.
"""

from revlm.training.ranks.process_group import join_ranks
from revlm.training.ranks.ranks import AgreedError, Ranks

__all__ = ["AgreedError", "Ranks", "join_ranks"]
