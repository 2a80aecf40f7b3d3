"""The parts of `bench_tokenize.py` and `make_corpus.py`: edited copies of novels, ids, schedules, tables."""
