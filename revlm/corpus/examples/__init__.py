"""Training and validation examples: from tokens to what one step sees.

`corpus` says what training, evaluation and planning see of any corpus. `packing` decides which tokens form an example,
and `packed` takes them from a token store; `mixture` takes turns among several stores; `streamed` packs texts that are
tokenized while they are trained on (`streamed_documents`). `opening` chooses by the recipe, and `loader` shares
examples out among ranks and prepares the next ones.
"""

from revlm.corpus.examples.corpus import Corpus, Example
from revlm.corpus.examples.loader import Loader, share
from revlm.corpus.examples.opening import open_corpus, pinned
from revlm.corpus.examples.packed import PackedCorpus
from revlm.corpus.examples.streamed import StreamedCorpus

__all__ = ["Corpus", "Example", "Loader", "PackedCorpus", "StreamedCorpus", "open_corpus", "pinned", "share"]
