"""The training loop: a generator of records, which the command line shows and the journal keeps."""

from collections.abc import Callable, Iterator

from revlm.corpus import open_corpus, pinned
from revlm.errors import Interrupted
from revlm.model import resolve_model
from revlm.ops.heap import keep_large_blocks_apart
from revlm.planning import require_memory
from revlm.recipe import Data, Recipe, load_recipe
from revlm.runs import (
    MemoryMeter,
    RunFolder,
    choose_device,
    describe_environment,
    load_checkpoint,
    memory_snapshot_on_failure,
    newest_checkpoint,
    require_trackers,
    save_checkpoint,
)
from revlm.training.run_log import RunLog, open_run_log
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
        UsageError: a tracker of `logging.backends` is not installed.
    """
    trackers = require_trackers(recipe.logging.backends)
    device = choose_device(recipe.train.device)
    recipe = recipe.model_copy(
        update={"model": resolve_model(recipe.model, recipe.data.seq_len), "data": _pinned_data(recipe)}
    )
    corpus = open_corpus(recipe.data, recipe.seed, message)
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
        corpus.tokenizer.save(folder.path)
        folder.write_environment(describe_environment(device))
        snapshot = device if recipe.memory.snapshot_on_oom else "cpu"
        with (
            open_run_log(trackers, folder, recipe, trainer.step, message) as log,
            memory_snapshot_on_failure(snapshot, folder.memory_snapshot),
        ):
            yield from _records(trainer, folder, log)


def _pinned_data(recipe: Recipe) -> Data:
    """The recipe's data; a dataset of the hub at the commit of its run where that stands, else at today's."""
    stream = recipe.data.stream
    if stream is None:
        return recipe.data
    written = RunFolder(recipe.output_dir).recipe
    if stream.revision is None and written.is_file():
        of_run = load_recipe(written).data.stream
        if of_run is not None and of_run.model_copy(update={"revision": None, "errors": stream.errors}) == stream:
            stream = stream.model_copy(update={"revision": of_run.revision})
    return recipe.data.model_copy(update={"stream": pinned(stream)})


def _records(trainer: Trainer, folder: RunFolder, log: RunLog) -> Iterator[Record]:
    """Yields the records of what is left to do, each of them logged, saving as the recipe says."""
    recipe = trainer.recipe
    saved_step = trainer.step
    evaluated_step = log.evaluated_step
    try:
        while True:
            is_last = trainer.step >= recipe.train.max_steps
            if trainer.step > evaluated_step and _is_due(trainer.step, recipe.evaluate.every, is_last):
                record, samples = trainer.evaluate()
                log.append(record, samples)
                evaluated_step = trainer.step
                yield record
            if trainer.step > saved_step and (is_last or _is_due(trainer.step, recipe.checkpoint.every, is_last)):
                _save(trainer, folder, log)
                saved_step = trainer.step
            if is_last:
                return
            record = trainer.train_step()
            log.append(record)
            yield record
    except Stopped:
        if trainer.step > saved_step:
            _save(trainer, folder, log)
        raise Interrupted(
            f"stopped by {trainer.stop()} with {folder} saved at step {trainer.step} of {recipe.train.max_steps}: "
            "run the same command again to go on"
        ) from None


def _is_due(step: int, every: int, is_last: bool) -> bool:
    return every > 0 and (is_last or step % every == 0)


def _save(trainer: Trainer, folder: RunFolder, log: RunLog) -> None:
    log.sync()
    tensors, state = trainer.state()
    save_checkpoint(folder, trainer.step, tensors, state, trainer.recipe.checkpoint.keep_last)
