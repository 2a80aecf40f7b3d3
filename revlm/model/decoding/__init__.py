"""Decoding from a cache: what the layers keep of the tokens before, and the stack that goes on from it."""

from revlm.model.decoding.stack import CachedStack

__all__ = ["CachedStack"]
