"""The bytes that a rank sends to others in a training step."""

from revlm.model.kinds import KINDS
from revlm.model.parts.memory import FULL_BYTES
from revlm.planning.sizes import Sizes


def sent_bytes(sizes: Sizes) -> int:
    """Returns the bytes that one rank sends in a step: parts of examples, and gradients.

    The forward pass exchanges what attention reads and what it returns; the backward pass does so again where
    activations are recomputed, and exchanges the gradients of both. Gradients of weights travel around a ring of ranks
    twice.
    """
    passes = 3 if sizes.reversible else 2
    of_example = 0
    for kind in sizes.kinds:
        mix = KINDS[kind].memory(sizes, sizes.attention_weights[kind]).mix
        of_example += sizes.groups * (passes * mix.sent_read + 3 * mix.sent_mixed + mix.sent_delta)
    ring = 2 * (sizes.processes - 1) * FULL_BYTES * sizes.parameters // sizes.processes
    return sizes.micro_batches * of_example + ring
