"""The training loop: a generator of records, which the command line shows and the journal keeps."""

from collections.abc import Callable, Iterator

from revlm.corpus import open_corpus
from revlm.errors import Interrupted
from revlm.model import resolve_model
from revlm.planning import require_memory
from revlm.recipe import Recipe
from revlm.runs import (
    Journal,
    MemoryMeter,
    RunFolder,
    choose_device,
    describe_environment,
    keep_large_blocks_apart,
    load_checkpoint,
    memory_snapshot_on_failure,
    newest_checkpoint,
    read_journal,
    save_checkpoint,
)
from revlm.training.trainer import Record, Stop, Stopped, Trainer

Message = Callable[[str], object]


def train(
    recipe: Recipe, message: Message = lambda text: None, stop: Stop = lambda: None, *, dry_run: bool = False
) -> Iterator[Record]:
    """Trains as the recipe says, yielding each record of the journal; goes on where the run stands.

    `stop` is asked between examples, and while evaluating; once it names what asks for it, the run is saved. With
    `dry_run`, one step is done from the beginning and nothing is written.

    Raises:
        Interrupted: a stop was asked for; the same call goes on.
        NonFiniteError: a loss, a gradient or a stream left the finite numbers.
        ResourceError: a step would need more memory than `memory.limit` or the machine.
        StorageError: the run folder is in use or its checkpoints belong to other settings.
    """
    device = choose_device(recipe.train.device)
    recipe = recipe.model_copy(update={"model": resolve_model(recipe.model, recipe.data.seq_len)})
    corpus = open_corpus(recipe.data, recipe.seed)
    for notice in corpus.notices:
        message(notice)
    require_memory(recipe, corpus.tokenizer.vocab_size, device, corpus.longest_example)
    keep_large_blocks_apart()
    meter = MemoryMeter(device)
    if dry_run:
        with Trainer(recipe, corpus, device, meter, stop) as trainer:
            yield trainer.train_step()
        return
    folder = RunFolder.create(recipe.output_dir)
    with folder.lock(), Trainer(recipe, corpus, device, meter, stop) as trainer:
        path = newest_checkpoint(folder, message)
        if path is not None:
            trainer.load(load_checkpoint(path))
            message(f"going on from step {trainer.step} of {folder}")
        folder.write_recipe(recipe.to_yaml())
        folder.write_environment(describe_environment(device))
        snapshot = device if recipe.memory.snapshot_on_oom else "cpu"
        with Journal(folder.metrics) as journal, memory_snapshot_on_failure(snapshot, folder.memory_snapshot):
            journal.truncate_after(trainer.step)
            folder.remove_samples_after(trainer.step)
            yield from _records(trainer, folder, journal)


def _records(trainer: Trainer, folder: RunFolder, journal: Journal) -> Iterator[Record]:
    """Yields the records of what is left to do, written to the journal, saving as the recipe says."""
    recipe = trainer.recipe
    saved_step = trainer.step
    evaluated_step = max((r["step"] for r in read_journal(folder.metrics) if r["event"] == "evaluate"), default=0)
    try:
        while True:
            is_last = trainer.step >= recipe.train.max_steps
            if trainer.step > evaluated_step and _is_due(trainer.step, recipe.evaluate.every, is_last):
                record, samples = trainer.evaluate()
                if samples:
                    folder.write_samples(trainer.step, samples)
                journal.append(record)
                evaluated_step = trainer.step
                yield record
            if trainer.step > saved_step and (is_last or _is_due(trainer.step, recipe.checkpoint.every, is_last)):
                _save(trainer, folder, journal)
                saved_step = trainer.step
            if is_last:
                return
            record = trainer.train_step()
            journal.append(record)
            yield record
    except Stopped:
        if trainer.step > saved_step:
            _save(trainer, folder, journal)
        raise Interrupted(
            f"stopped by {trainer.stop()} with {folder} saved at step {trainer.step} of {recipe.train.max_steps}: "
            "run the same command again to go on"
        ) from None


def _is_due(step: int, every: int, is_last: bool) -> bool:
    return every > 0 and (is_last or step % every == 0)


def _save(trainer: Trainer, folder: RunFolder, journal: Journal) -> None:
    journal.sync()
    tensors, state = trainer.state()
    save_checkpoint(folder, trainer.step, tensors, state, trainer.recipe.checkpoint.keep_last)
