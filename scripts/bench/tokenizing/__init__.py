"""What `bench_tokenize.py` and `make_corpus.py` are made of: edited copies of novels, process trees, ids, tables."""
