"""Trains language models on the same text for the same time, and compares them on the same held-out text.

texts (what all of them train on and are judged by) -> worker (one model, trained within a budget, in its own process)
-> schedule (which are trained, and which settings are searched first) -> summary, table, picture.

To add a rival: one file with a `Learner`, and its line of `RIVALS`.
"""
