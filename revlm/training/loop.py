"""The training loop: a generator of records, which the command line shows and the journal keeps."""

from collections.abc import Callable, Iterator

from revlm.corpus import open_corpus, pinned, require_undamaged
from revlm.errors import Interrupted
from revlm.model import resolve_model
from revlm.ops.heap import keep_large_blocks_apart
from revlm.planning import out_of_memory_explained, require_memory
from revlm.recipe import Data, Recipe, load_recipe
from revlm.runs import (
    MemoryMeter,
    RunFolder,
    choose_device,
    describe_environment,
    end_save,
    list_checkpoints,
    load_checkpoint,
    memory_snapshot_on_failure,
    newest_checkpoint,
    require_room,
    require_trackers,
    save_checkpoint,
    step_of,
)
from revlm.training.run_log import RunLog, open_run_log
from revlm.training.saving import Saving
from revlm.training.trainer import Record, Stop, Stopped, Trainer

Message = Callable[[str], object]


def train(
    recipe: Recipe,
    message: Message = lambda text: None,
    stop: Stop = lambda: None,
    *,
    dry_run: bool = False,
    allow_change: bool = False,
) -> Iterator[Record]:
    """Trains as the recipe says, yielding each record of the journal; goes on where the run stands.

    `stop` is asked between examples, and while evaluating; once it names what asks for it, the run is saved. With
    `dry_run`, one step is done from the beginning and nothing is written. With `allow_change` a run goes on also where
    the recipe, the tokenizer or the tokens are not those of its checkpoint.

    Raises:
        DataError: a token folder is not whole, or a file in it has changed since it was written.
        Interrupted: a stop was asked for; the same call goes on.
        NonFiniteError: a loss, a gradient or a stream left the finite numbers.
        ResourceError: a step would need more memory than `memory.limit` or what there is, or memory ran out.
        StorageError: the run folder is in use, cannot be written, has no room for the checkpoints to come, or holds
            those of other settings.
        UsageError: a tracker of `logging.backends` is not installed.
    """
    trackers = require_trackers(recipe.logging.backends)
    device = choose_device(recipe.train.device)
    recipe = recipe.model_copy(
        update={"model": resolve_model(recipe.model, recipe.data.seq_len), "data": _pinned_data(recipe)}
    )
    for tokens in recipe.data.paths:
        require_undamaged(tokens, lambda done, name: _heed_early(stop))
    corpus = open_corpus(recipe.data, recipe.seed, message)
    for notice in corpus.notices:
        message(notice)
    vocab_size = corpus.tokenizer.vocab_size
    plan = require_memory(recipe, vocab_size, device, corpus.longest_example)
    keep_large_blocks_apart()
    meter = MemoryMeter(device)
    if dry_run:
        with (
            out_of_memory_explained(plan, recipe, vocab_size, device, meter.attainable_bytes),
            Trainer(recipe, corpus, device, meter, stop) as trainer,
        ):
            try:
                yield trainer.train_step()
            except Stopped:
                raise Interrupted(f"the dry run was stopped by {stop()}: nothing was written") from None
        return
    folder = RunFolder.create(recipe.output_dir)
    snapshot = folder.memory_snapshot if device.type == "cuda" and recipe.memory.snapshot_on_oom else None
    with (
        folder.lock(),
        out_of_memory_explained(plan, recipe, vocab_size, device, meter.attainable_bytes, snapshot),
        Trainer(recipe, corpus, device, meter, stop) as trainer,
    ):
        folder.remove_unfinished()
        path = newest_checkpoint(folder, message)
        if path is not None:
            changed = trainer.load(load_checkpoint(path), allow_change=allow_change)
            end_save(folder, trainer.step, recipe.checkpoint.keep_last, recipe.checkpoint.keep_every)
            message(f"going on from step {trainer.step} of {folder}")
            if changed:
                message(f"with other settings than {path} was trained with: {'; '.join(changed)}")
        saving = Saving(recipe, trainer.step, None if path is None else trainer.step)
        require_room(
            folder,
            saving.checkpoints_to_come([step_of(each) or 0 for each in list_checkpoints(folder)]),
            trainer.state_bytes,
            "lower checkpoint.keep_last, or give another output_dir",
        )
        folder.write_recipe(recipe.to_yaml())
        corpus.tokenizer.save(folder.path)
        folder.write_environment(describe_environment(device))
        folder.write_plan(plan.to_json())
        with (
            open_run_log(trackers, folder, recipe, trainer.step, message) as log,
            memory_snapshot_on_failure(snapshot),
        ):
            yield from _records(trainer, folder, log, saving)


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


def _records(trainer: Trainer, folder: RunFolder, log: RunLog, saving: Saving) -> Iterator[Record]:
    """Yields the records of what is left to do, each of them logged, saving as the recipe says."""
    recipe = trainer.recipe
    evaluated_step = log.evaluated_step
    try:
        while True:
            is_last = trainer.step >= recipe.train.max_steps
            if trainer.step > evaluated_step and _is_due(trainer.step, recipe.evaluate.every, is_last):
                record, samples = trainer.evaluate()
                log.append(record, samples)
                evaluated_step = trainer.step
                yield record
            if saving.is_due(trainer.step):
                _save(trainer, folder, log, saving)
            if is_last:
                return
            record = trainer.train_step()
            log.append(record)
            yield record
    except Stopped:
        if saving.saved_step != trainer.step:
            _save(trainer, folder, log, saving)
        raise Interrupted(
            f"stopped by {trainer.stop()} with {folder} saved at step {trainer.step} of {recipe.train.max_steps}: "
            "run the same command again to go on"
        ) from None


def _is_due(step: int, every: int, is_last: bool) -> bool:
    return every > 0 and (is_last or step % every == 0)


def _save(trainer: Trainer, folder: RunFolder, log: RunLog, saving: Saving) -> None:
    log.sync()
    tensors, state = trainer.state()
    options = trainer.recipe.checkpoint
    save_checkpoint(folder, trainer.step, tensors, state, options.keep_last, options.keep_every)
    saving.done(trainer.step)


def _heed_early(stop: Stop) -> None:
    """Raises Interrupted where a stop is asked for before there is anything to save."""
    if (name := stop()) is not None:
        raise Interrupted(f"stopped by {name} while the tokens were verified: run the same command again to go on")
