"""Imported last by the process that is forked for the tests: what each fork would otherwise do again.

It computes nothing and starts no thread: a thread pool survives no fork.
"""

import gc

from revlm.ops.compiled import library

library.builds()  # otherwise each fork asks the compiler for its version
gc.collect()
gc.freeze()  # a collection in a fork neither visits nor copies what was imported
