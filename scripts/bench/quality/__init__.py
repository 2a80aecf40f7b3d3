"""Trains language models on the same text for the same time, and compares them on the same held-out text.

texts (the training and held-out text of all models) -> worker (one model, trained within a budget, in its own process)
-> schedule (which models are trained, after a search of their settings) -> summary, table, picture.

To add a rival: one file with a `Learner`, and its line of `RIVALS`.
"""
