"""Which stores are the shards of one corpus, and whether all of them are there."""

from pathlib import Path

from revlm.corpus.store.manifest import Manifest, Shard
from revlm.errors import UsageError

_LISTED = 10  # missing shards in an error


def in_order(manifests: dict[Path, Manifest]) -> dict[Path, Manifest]:
    """Returns the manifests of stores, by folder, in the order of the corpus: as given, unless they are shards.

    Raises:
        UsageError: a shard is missing or there twice, not all are shards, or not of one corpus and division.
    """
    shards = {folder: shard for folder, manifest in manifests.items() if (shard := manifest.shard)}
    if not shards:
        return manifests
    for folder in manifests:
        if folder not in shards:
            raise UsageError(
                f"{next(iter(shards))} is a shard and {folder} is none; merge the shards of a corpus, and then "
                "what they gave with other stores"
            )
    _require_one_corpus(shards)
    _require_each_once(shards)
    return {folder: manifests[folder] for folder in sorted(shards, key=lambda folder: shards[folder].number)}


def _require_one_corpus(shards: dict[Path, Shard]) -> None:
    (first, whole), *others = shards.items()
    for folder, shard in others:
        if shard.count != whole.count:
            raise UsageError(f"{first} is {whole} and {folder} is {shard}; give shards of one division")
        if shard.corpus != whole.corpus:
            raise UsageError(
                f"{first} and {folder} are not of one corpus, or its files changed between them; "
                "tokenize all shards of one corpus as it is now"
            )


def _require_each_once(shards: dict[Path, Shard]) -> None:
    by_number: dict[int, Path] = {}
    for folder, shard in shards.items():
        if shard.number in by_number:
            raise UsageError(f"{by_number[shard.number]} and {folder} both are {shard}; give each shard once")
        by_number[shard.number] = folder
    count = next(iter(shards.values())).count
    missing = [f"{number}/{count}" for number in range(1, count + 1) if number not in by_number]
    if missing:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise UsageError(
            f"of {count} shards {len(missing)} are missing: {', '.join(missing[:_LISTED])}{more}; "
            f"make them with `revlm tokenize CORPUS --shard {missing[0]}`, or name them as well"
        )
