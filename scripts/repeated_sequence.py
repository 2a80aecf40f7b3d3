"""Measures how many tokens of a repeated random sequence a small model predicts, by training step.

The first copy is many windows back, so local attention cannot see it, and the tokens are random, so nothing else helps.
One hash layer must find the earlier occurrence and read its successor: with successor values it does; without them it
reads the occurrence itself, which is not informative. `python scripts/repeated_sequence.py` prints both, in about a
minute on one core.

The training step is not that of `revlm.training.step`, for which every token is a target: here only repeated ones are.
"""

import torch
from torch import Tensor

from revlm.model import RevLM, resolve_model
from revlm.recipe import Model

DOCUMENTS = 4
LEARNING_RATE = 1e-2
WARMUP_STEPS = 20


def train_on_repetitions(
    *, successor_values: bool, half: int = 256, vocabulary: int = 128, steps: int = 150, every: int = 25, seed: int = 0
) -> tuple[RevLM, dict[int, float]]:
    """Returns a trained model and the share of the second halves' tokens that it predicts, by steps of training.

    A model of two layers, local and lsh, with a window of 16 is trained from scratch on `DOCUMENTS` sequences of twice
    `half` tokens per step, and evaluated on as many new ones. The first token of a second half is not counted, since it
    cannot be predicted.
    """
    recipe = Model(
        d_model=32,
        n_layers=2,
        n_heads=2,
        d_ff=64,
        layers=("local", "lsh"),
        window=16,
        n_rounds=4,
        successor_values=successor_values,
    )
    # Buckets for twice the length, so about half a window deep, since some are fuller than others.
    model = RevLM(resolve_model(recipe, 4 * half), vocab_size=vocabulary, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    generator = torch.Generator().manual_seed(seed)
    document_ids = torch.arange(DOCUMENTS).repeat_interleave(2 * half)

    def predict(step: int | None) -> tuple[Tensor, Tensor]:
        """Returns the hidden states before the tokens that count in new sequences, and those tokens."""
        tokens = torch.randint(vocabulary, (DOCUMENTS, half), generator=generator).repeat(1, 2)
        hidden = model(tokens.flatten(), document_ids, step=step).unflatten(0, tokens.shape)
        return hidden[:, half:-1].flatten(0, 1), tokens[:, half + 1 :].flatten()

    accuracy = {}
    for step in range(1, steps + 1):
        hidden, targets = predict(step)
        optimizer.zero_grad()
        (model.loss(hidden, targets) / len(targets)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        # Linear warm-up, constant, then linear decay over the second half.
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, step / WARMUP_STEPS, 2 * (1 - (step - 1) / steps))
        optimizer.step()
        if step % every == 0:
            model.eval()
            with torch.no_grad():
                hidden, targets = predict(None)
                accuracy[step] = float((model.logits(hidden).argmax(-1) == targets).double().mean())
            model.train()
    return model.eval(), accuracy


def main() -> None:
    """Prints a row of accuracies per kind of value."""
    torch.set_num_threads(1)  # the tensors are too small for more
    for name, successor_values in (("successor values", True), ("own values alone", False)):
        _, accuracy = train_on_repetitions(successor_values=successor_values)
        if successor_values:
            print(f"{'step':16}", *(f"{step:>6}" for step in accuracy))
        print(f"{name:16}", *(f"{share:>6.1%}" for share in accuracy.values()), flush=True)


if __name__ == "__main__":
    main()
