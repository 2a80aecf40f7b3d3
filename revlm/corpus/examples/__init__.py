"""Training and validation examples: from tokens to the input of one step.

`corpus` is the interface that training, evaluation and planning use. `packing` decides which tokens form an example,
and `packed` reads them from a token store; `mixture` interleaves several stores; `streamed` packs texts that are
tokenized during training (`streamed_documents`). `opening` opens the corpus of a recipe, and `loader` shards examples
over ranks and prefetches them.
"""

from revlm.corpus.examples.corpus import Corpus, Example
from revlm.corpus.examples.loader import Loader, ScheduledStream, share
from revlm.corpus.examples.opening import open_corpus, pinned
from revlm.corpus.examples.packed import PackedCorpus
from revlm.corpus.examples.streamed import StreamedCorpus

__all__ = [
    "Corpus",
    "Example",
    "Loader",
    "PackedCorpus",
    "ScheduledStream",
    "StreamedCorpus",
    "open_corpus",
    "pinned",
    "share",
]
