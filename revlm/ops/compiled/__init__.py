"""The C++ operations compiled for the machine's CPU, and their build.

`kernel.cpp` has the entry points. The folder `attention` holds attention over a sequence and of one token, `tokenwise`
the operations on each token by itself, and `base` what they share: vectors, memory, threads and products of tiles.
"""
