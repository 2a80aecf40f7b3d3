"""A training step, replayed on a ledger: every large tensor, in the order in which the code makes and frees it.

It follows `revlm.training.loop`, `revlm.model.revlm`, `.reversible` and `.tiles`; a test holds it against what the
allocator was asked for. The sizes are those of CPU operations. On CUDA some operations are fused and keep less, so
there the plan is an upper bound to within the rounding of the allocator.
"""

from collections.abc import Callable, Collection

from revlm.model.kinds import KINDS
from revlm.model.parts import feed_forward
from revlm.model.parts.memory import FULL_BYTES, AttentionMemory, StageMemory
from revlm.ops.linear_cross_entropy import workspace_bytes as loss_workspace_bytes
from revlm.planning.ledger import Ledger
from revlm.planning.sizes import Sizes
from revlm.recipe import LayerKind

# Muon works on one matrix at a time: its update in full precision, and three of its size in bf16 to make it orthogonal.
_MUON_BYTES = FULL_BYTES + 3 * 2

Holes = Callable[[StageMemory, bool], int]
"""Returns the bytes of freed memory that lie between the tensors of a stage's tiles, forwards or (True) backwards."""


def replay_step(sizes: Sizes, in_heap: Collection[str] = (), holes: Holes = lambda stage, backward: 0) -> Ledger:
    """Returns the ledger of a step of full examples, after the first one: the optimizer has its state already.

    `in_heap` and `holes` are what is known of the system's allocator; without them the ledger is of tensors alone.
    """
    ledger = Ledger(in_heap)
    ledger.take("weights", FULL_BYTES * (sizes.parameters + sizes.rotations))
    ledger.take("optimizer", FULL_BYTES * sizes.optimizer_elements)
    ledger.take("data", 3 * 4 * sizes.tokens * (sizes.micro_batches + sizes.examples_ahead))
    of_weights = FULL_BYTES * sizes.parameters
    if sizes.processes > 1:  # in which `DistributedDataParallel` exchanges the gradients
        ledger.take("gradients", of_weights)
    # The second micro-batch is like all that follow: the gradients so far are there from its start.
    for micro_batch in range(min(sizes.micro_batches, 2)):
        _MicroBatch(sizes, ledger, holes).run()
        if micro_batch > 0:
            ledger.give_back("gradients", of_weights)
    if sizes.processes > 1:  # from here on they lie there
        ledger.give_back("gradients", of_weights)
    ledger.trim()
    with ledger.phase("optimizer"):
        if sizes.muon:
            ledger.moment("optimizer", _MUON_BYTES * sizes.largest_matrix)
    return ledger


class _MicroBatch:
    """One example forwards and backwards; leaves its gradients on the ledger."""

    def __init__(self, sizes: Sizes, ledger: Ledger, holes: Holes) -> None:
        self.sizes, self.ledger, self.holes = sizes, ledger, holes
        self._holes_of: dict[StageMemory, int] = {}
        self.feed_forward = feed_forward.memory(sizes, sizes.feed_forward_weights.write_matrices)
        self.attention: dict[LayerKind, AttentionMemory] = {
            kind: KINDS[kind].memory(sizes, sizes.attention_weights[kind]) for kind in set(sizes.kinds)
        }

    def run(self) -> None:
        sizes, ledger = self.sizes, self.ledger
        embedding_weights = FULL_BYTES * sizes.vocab_size * sizes.d_model
        # The numbers of the tokens, which the embedding saves, and their positions.
        lasting = 2 * 8 * sizes.tokens
        with ledger.phase("forward"):
            ledger.take("data", lasting)
            self._stack_forward()
            # The norm saves the streams' sum, and gives the hidden states.
            ledger.take("streams", sizes.hidden_bytes)
            loss_gradients = sizes.hidden_bytes + embedding_weights
            with ledger.held("streams", sizes.hidden_bytes):
                ledger.take("loss", loss_gradients)
                ledger.moment(
                    "loss",
                    loss_workspace_bytes(
                        tokens=sizes.tokens,
                        vocab_size=sizes.vocab_size,
                        d_model=sizes.d_model,
                        product_bytes=sizes.product_bytes,
                        device_kind=sizes.device_kind,
                    ),
                )
        with ledger.phase("backward"):
            # PyTorch's own loss scales its gradients into new tensors; ours does it in place.
            if sizes.product_bytes == FULL_BYTES:
                ledger.moment("stream_gradients", loss_gradients)
            ledger.give_back("loss", loss_gradients)
            ledger.take("stream_gradients", sizes.hidden_bytes)
            ledger.take("gradients", embedding_weights)
            ledger.moment("stream_gradients", sizes.hidden_bytes)  # the norm's
            ledger.give_back("streams", sizes.hidden_bytes)
            self._stack_backward()
            # The embedding's gradient, and the head's, into which it goes where the two are tied.
            ledger.moment("gradients", embedding_weights)
            left = FULL_BYTES * sizes.other_weights - embedding_weights
            ledger.take("gradients", left)
            ledger.give_back("stream_gradients", sizes.hidden_bytes)
            ledger.give_back("data", lasting)
            ledger.give_back("allocator", sum(self._holes_of.values()))

    def _stack_forward(self) -> None:
        sizes, ledger = self.sizes, self.ledger
        embedding, streams = sizes.hidden_bytes, 2 * sizes.hidden_bytes
        with ledger.held("streams", embedding):
            # The first stream, of which the second is a copy, and by PyTorch's own operations the embedding scaled and
            # as integers.
            ledger.moment("streams", (1 if sizes.compiled else 3) * sizes.hidden_bytes)
            ledger.take("streams", streams)
            for kind in sizes.kinds:
                self._attention_forward(kind)
                self._feed_forward_forward()
            ledger.moment("streams", 2 * sizes.hidden_bytes)  # both as floating-point numbers, for their sum
        if not sizes.reversible:
            ledger.give_back("streams", streams)

    def _attention_forward(self, kind: LayerKind) -> None:
        ledger, (read, mix, write) = self.ledger, self.attention[kind]
        keep = not self.sizes.reversible
        if keep:
            weights = FULL_BYTES * self.sizes.attention_weights[kind].total
            ledger.take("gradients", weights)
            ledger.take("kept", self._graphs(read))
            ledger.take("kept", mix.read)
            self._tiles(read, read.forward)
            self._trim()
            ledger.take("kept", mix.mixed + mix.saved)
            ledger.moment("attention_workspace", mix.forward_workspace)
            ledger.take("kept", self._graphs(write))
            return
        with ledger.held("attention", mix.read):
            self._tiles(read, read.forward + self._stale(read))
            ledger.take("attention", mix.mixed)
            with ledger.held("tiles", read.left), ledger.held("attention", mix.saved):
                ledger.moment("attention_workspace", mix.forward_workspace)
        self._tiles(write, write.forward + self._stale(write))
        ledger.give_back("attention", mix.mixed)

    def _feed_forward_forward(self) -> None:
        if self.sizes.reversible:
            self._tiles(self.feed_forward, self.feed_forward.forward + self._stale(self.feed_forward))
            return
        self.ledger.take("gradients", FULL_BYTES * self.sizes.feed_forward_weights.total)
        self.ledger.take("kept", self._graphs(self.feed_forward))

    def _stack_backward(self) -> None:
        sizes, ledger = self.sizes, self.ledger
        with ledger.held("stream_gradients", 2 * sizes.hidden_bytes):
            for kind in reversed(sizes.kinds):
                if sizes.reversible:
                    ledger.take("gradients", FULL_BYTES * sizes.feed_forward_weights.total)
                self._backward_of_tiles(self.feed_forward)
                if not sizes.reversible:
                    ledger.give_back("kept", self._graphs(self.feed_forward))
                self._attention_backward(kind)
        if sizes.reversible:
            ledger.give_back("streams", 2 * sizes.hidden_bytes)

    def _attention_backward(self, kind: LayerKind) -> None:
        ledger, (read, mix, write) = self.ledger, self.attention[kind]
        reversible = self.sizes.reversible
        if reversible:
            ledger.take("gradients", FULL_BYTES * self.sizes.attention_weights[kind].total)
            ledger.take("attention", mix.read)
            self._tiles(read, read.forward + self._stale(read))
            with ledger.held("tiles", read.left):
                self._trim()
                ledger.take("attention", mix.mixed + mix.saved)
                ledger.moment("attention_workspace", mix.forward_workspace)
        with ledger.held("attention", mix.mixed):  # the gradient of what was mixed
            self._backward_of_tiles(write)
            self._trim()
            with ledger.held("attention", mix.made):
                ledger.moment("attention_workspace", mix.backward_workspace)
                ledger.moment("attention", mix.summed)
            ledger.take("attention", mix.gradients)
        if reversible:
            ledger.give_back("attention", mix.read - mix.overwritten + mix.mixed + mix.saved)
        self._backward_of_tiles(read)
        ledger.give_back("attention", mix.gradients + (mix.overwritten if reversible else 0))
        if not reversible:
            ledger.give_back("kept", self._graphs(read) + mix.read + mix.mixed + mix.saved + self._graphs(write))

    def _graphs(self, stage: StageMemory) -> int:
        """The kept graphs of all tiles; the last tile is shorter, its casts of weights are not."""
        return stage.graph * self.sizes.tokens // self.sizes.tile_tokens

    def _stale(self, stage: StageMemory) -> int:
        """What the tile before has left, while the next one is worked on."""
        return stage.left if self.sizes.tiles > 1 else 0

    def _backward_of_tiles(self, stage: StageMemory) -> None:
        """The most held while a tile is differentiated: its graph is rebuilt, or it was kept."""
        rebuilt = stage.graph + self._stale(stage) if self.sizes.reversible else 0
        self._tiles(stage, rebuilt + stage.backward, backward=True)

    def _tiles(self, stage: StageMemory, most_bytes: int, *, backward: bool = False) -> None:
        """The most held while a tile is worked on; what holes a stage leaves are there until the heap is trimmed."""
        before = self._holes_of.get(stage, 0)
        self._holes_of[stage] = max(before, self.holes(stage, backward))
        self.ledger.take("allocator", self._holes_of[stage] - before)
        self.ledger.moment("tiles", most_bytes)

    def _trim(self) -> None:
        self.ledger.give_back("allocator", sum(self._holes_of.values()))
        self._holes_of.clear()
        self.ledger.trim()
