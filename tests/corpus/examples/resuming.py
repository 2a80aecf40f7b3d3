"""Whether training resumes from any state with the same examples."""

import json
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from revlm.corpus import Example, Loader


def key(example: Example) -> tuple[Any, ...]:
    arrays = (example.inputs, example.targets, example.document_ids)
    return (*(array.tolist() for array in arrays), example.titles, example.epoch, example.target_bytes)


def require_resumable(
    training: Callable[[Any], Any], expected: Sequence[Any], states: Sequence[Any], workers: Sequence[int]
) -> None:
    """Requires `expected` from `training(state)` after each of `states`, whatever the numbers of loading threads."""
    length = len(expected)
    with Loader(training(None), workers[0]) as examples:
        for place, state in enumerate(states):
            assert examples.state() == state
            with Loader(training(json.loads(json.dumps(state))), workers[1 + place % 2]) as resumed:
                assert resumed.state() == state
                assert [key(example) for example in islice(resumed, length - place)] == expected[place:]
                assert resumed.state() == states[-1]
            if place < length:
                assert key(next(examples)) == expected[place]
