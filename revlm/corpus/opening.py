"""The corpus of a recipe: which kind it is follows from `data`."""

from revlm.corpus.examples import Corpus
from revlm.corpus.mixture import Mixture
from revlm.corpus.packed_corpus import PackedCorpus
from revlm.recipe import Data


def open_corpus(data: Data, seed: int) -> Corpus:
    """Returns the corpus that a recipe names: a token store, or the mixture of several.

    Raises:
        DataError: a folder is no whole store or holds too little, or the stores do not go together.
    """
    stores = [
        PackedCorpus(path, seq_len=data.seq_len, packing=data.packing, seed=seed, validation=data.validation)
        for path in data.paths
    ]
    return stores[0] if len(stores) == 1 else Mixture(stores, data.weights)
