"""Token stores: the tokens of a corpus on the disk, and every way in and out of them.

`tokenization` reads and encodes a corpus; `checking` decides what each text becomes, with `duplicates`; `spool` and
`unfinished` keep what is done through a kill; `writer` makes the folder, and signs it with the `manifest`. `replacing`
guards a store of another corpus. `token_store` is the one way to open a store, verified, and `rows` are its mapped
tokens; `contents` says what is in one, and `merging` joins several.
"""
