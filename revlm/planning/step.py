"""Replays a training step on a ledger: every large tensor, in the order in which the code allocates and frees it.

It follows `revlm.training.loop`, `revlm.model.revlm`, `.reversible` and `.tiles`; a test compares it with the
allocator's requests. The sizes are those of CPU operations. On CUDA some operations are fused and save less, so there
the plan is an upper bound, up to the allocator's rounding.
"""

from collections.abc import Callable, Collection

from revlm.model.kinds import KINDS
from revlm.model.parts import feed_forward
from revlm.model.parts.memory import FULL_BYTES, AttentionMemory, StageMemory
from revlm.ops.linear_cross_entropy import workspace_bytes as loss_workspace_bytes
from revlm.planning.ledger import Ledger
from revlm.planning.sizes import GRADIENT_BUFFER_BYTES, Sizes
from revlm.recipe import LayerKind

Holes = Callable[[StageMemory, bool], int]
"""Returns the bytes of holes between the tensors of a stage's tiles, in the forward or (True) the backward pass."""


def replay_step(sizes: Sizes, in_heap: Collection[str] = (), holes: Holes = lambda stage, backward: 0) -> Ledger:
    """Returns the ledger of a step with full examples, after the first one: the optimizer's state exists already.

    `in_heap` and `holes` describe the system's allocator; without them the ledger counts only tensors.
    """
    ledger = Ledger(in_heap)
    ledger.allocate("weights", FULL_BYTES * (sizes.parameters + sizes.rotations))
    ledger.allocate("optimizer", FULL_BYTES * sizes.optimizer_elements)
    ledger.allocate("data", 3 * 4 * sizes.all_tokens * (sizes.micro_batches + sizes.examples_ahead))
    of_weights = FULL_BYTES * sizes.parameters
    # The second micro-batch is like all later ones: accumulated gradients exist from its start.
    for micro_batch in range(min(sizes.micro_batches, 2)):
        _MicroBatch(sizes, ledger, holes).run()
        if micro_batch > 0:
            ledger.free("gradients", of_weights)
    ledger.trim()
    with ledger.phase("optimizer"):
        if sizes.processes > 1:
            ledger.transient("gradients", min(GRADIENT_BUFFER_BYTES, of_weights))
        if sizes.muon:
            # One matrix at a time: the update in full precision, and three tensors of its size to orthogonalize it.
            ledger.transient("optimizer", (FULL_BYTES + 3 * sizes.muon_bytes) * sizes.largest_matrix)
    return ledger


class _MicroBatch:
    """The forward and backward pass of one example; leaves its gradients on the ledger."""

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
        # The token ids, which the embedding saves, and the positions of all tokens.
        lasting = 8 * (sizes.tokens + sizes.all_tokens)
        with ledger.phase("forward"):
            ledger.allocate("data", lasting)
            self._stack_forward()
            # The norm saves the streams' sum and returns the hidden states.
            ledger.allocate("streams", sizes.hidden_bytes)
            loss_gradients = sizes.hidden_bytes + embedding_weights
            with ledger.held("streams", sizes.hidden_bytes):
                ledger.allocate("loss", loss_gradients)
                ledger.transient(
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
            # PyTorch's loss scales its gradients into new tensors; ours scales in place.
            if sizes.product_bytes == FULL_BYTES:
                ledger.transient("stream_gradients", loss_gradients)
            ledger.free("loss", loss_gradients)
            ledger.allocate("stream_gradients", sizes.hidden_bytes)
            ledger.allocate("gradients", embedding_weights)
            ledger.transient("stream_gradients", sizes.hidden_bytes)  # the norm's
            ledger.free("streams", sizes.hidden_bytes)
            self._stack_backward()
            # The embedding's gradient; with tied embeddings it is added to the head's.
            ledger.transient("gradients", embedding_weights)
            left = FULL_BYTES * sizes.other_weights - embedding_weights
            ledger.allocate("gradients", left)
            ledger.free("stream_gradients", sizes.hidden_bytes)
            ledger.free("data", lasting)
            ledger.free("allocator", sum(self._holes_of.values()))

    def _stack_forward(self) -> None:
        sizes, ledger = self.sizes, self.ledger
        embedding, streams = sizes.hidden_bytes, 2 * sizes.hidden_bytes
        with ledger.held("streams", embedding):
            # The first stream, of which the second is a copy; with PyTorch's operations also the embedding scaled, and
            # as integers.
            ledger.transient("streams", (1 if sizes.compiled else 3) * sizes.hidden_bytes)
            ledger.allocate("streams", streams)
            for kind in sizes.kinds:
                self._attention_forward(kind)
                self._feed_forward_forward()
            # Their sum; some tokens of both at a time are floating-point numbers.
            ledger.transient("streams", sizes.hidden_bytes)
        if not sizes.reversible:
            ledger.free("streams", streams)

    def _attention_forward(self, kind: LayerKind) -> None:
        ledger, (read, mix, write) = self.ledger, self.attention[kind]
        keep = not self.sizes.reversible
        if keep:
            weights = FULL_BYTES * self.sizes.attention_weights[kind].total
            ledger.allocate("gradients", weights)
            inputs = self.sizes.hidden_bytes  # the values of the stream, which all groups of heads read
            ledger.allocate("kept", inputs)
            for _ in range(self.sizes.groups):
                ledger.allocate("kept", self._graphs(read) - inputs + mix.read)
                self._tiles(read, read.forward)
                self._trim()
                ledger.allocate("kept", mix.mixed + mix.saved)
                ledger.transient("attention_workspace", mix.forward_workspace)
                ledger.allocate("kept", self._graphs(write))
            return
        with ledger.held("attention", mix.read):
            self._tiles(read, read.forward + self._stale(read))
            ledger.transient("attention", mix.exchanged)
            ledger.allocate("attention", mix.mixed)
            with ledger.held("tiles", read.left), ledger.held("attention", mix.saved):
                ledger.transient("attention_workspace", mix.forward_workspace)
        ledger.transient("attention", mix.exchanged)
        self._tiles(write, write.forward + self._stale(write))
        ledger.free("attention", mix.mixed)

    def _feed_forward_forward(self) -> None:
        if self.sizes.reversible:
            self._tiles(self.feed_forward, self.feed_forward.forward + self._stale(self.feed_forward))
            return
        self.ledger.allocate("gradients", FULL_BYTES * self.sizes.feed_forward_weights.total)
        self.ledger.allocate("kept", self._graphs(self.feed_forward))

    def _stack_backward(self) -> None:
        sizes, ledger = self.sizes, self.ledger
        # The gradient of the streams' sum becomes that of one of them.
        with ledger.held("stream_gradients", sizes.hidden_bytes):
            for kind in reversed(sizes.kinds):
                if sizes.reversible:
                    ledger.allocate("gradients", FULL_BYTES * sizes.feed_forward_weights.total)
                self._backward_of_tiles(self.feed_forward)
                if not sizes.reversible:
                    ledger.free("kept", self._graphs(self.feed_forward))
                self._attention_backward(kind)
        if sizes.reversible:
            ledger.free("streams", 2 * sizes.hidden_bytes)

    def _attention_backward(self, kind: LayerKind) -> None:
        ledger, (read, mix, write) = self.ledger, self.attention[kind]
        reversible = self.sizes.reversible
        if reversible:
            ledger.allocate("gradients", FULL_BYTES * self.sizes.attention_weights[kind].total)
            ledger.allocate("attention", mix.read)
            self._tiles(read, read.forward + self._stale(read))
            ledger.transient("attention", mix.exchanged)
            with ledger.held("tiles", read.left):
                self._trim()
                ledger.allocate("attention", mix.mixed + mix.saved)
                ledger.transient("attention_workspace", mix.forward_workspace)
        ledger.transient("attention", mix.exchanged)
        # Attention that needs its result holds it beside the mixed values of this rank, whose gradient is another one.
        apart = mix.exchanged if mix.d_mixed else 0
        with ledger.held("attention", mix.d_mixed + mix.delta):
            with ledger.held("attention", apart):
                self._backward_of_tiles(write)
            ledger.transient("attention", mix.exchanged)
            self._trim()
            with ledger.held("attention", mix.made):
                ledger.transient("attention_workspace", mix.backward_workspace)
                ledger.transient("attention", mix.summed)
            ledger.allocate("attention", mix.gradients)
        if reversible:
            ledger.free("attention", mix.read - mix.overwritten + mix.mixed + mix.saved)
        ledger.transient("attention", mix.exchanged)
        self._backward_of_tiles(read)
        ledger.free("attention", mix.gradients + (mix.overwritten if reversible else 0))
        if not reversible:
            inputs = self.sizes.hidden_bytes
            of_group = self._graphs(read) - inputs + mix.read + mix.mixed + mix.saved + self._graphs(write)
            ledger.free("kept", inputs + self.sizes.groups * of_group)

    def _graphs(self, stage: StageMemory) -> int:
        """Returns the bytes of the stored graphs of all tiles, in proportion to the tokens."""
        return (stage.graph - stage.casts) * self.sizes.tokens // self.sizes.tile_tokens + stage.casts

    def _stale(self, stage: StageMemory) -> int:
        """Returns the bytes that the previous tile leaves while the next one is computed."""
        return stage.left if self.sizes.tiles > 1 else 0

    def _backward_of_tiles(self, stage: StageMemory) -> None:
        """Counts the backward pass of a stage's tiles; a tile's graph is rebuilt, or was stored."""
        rebuilt = stage.graph + self._stale(stage) if self.sizes.reversible else 0
        self._tiles(stage, rebuilt + stage.backward, backward=True)

    def _tiles(self, stage: StageMemory, max_bytes: int, *, backward: bool = False) -> None:
        """Counts the peak of a stage's tiles; the holes that a stage leaves stay until the heap is trimmed."""
        before = self._holes_of.get(stage, 0)
        self._holes_of[stage] = max(before, self.holes(stage, backward))
        self.ledger.allocate("allocator", self._holes_of[stage] - before)
        self.ledger.transient("tiles", max_bytes)

    def _trim(self) -> None:
        self.ledger.free("allocator", sum(self._holes_of.values()))
        self._holes_of.clear()
        self.ledger.trim()
