"""The pictures of a report, each drawn light and dark, wide and narrow, on one canvas.

theme     colours
canvas    panels, keys, axes and labels; matplotlib's constrained layout finds their places
picture   a drawing with its words, as a PNG or for a page
steps     curves over the steps of a run: loss, throughput, use of buckets
memory    peaks over the steps of a run
plan      planned memory: against a step, and swept over a key
overlay   of several runs
charts    of what a probe of `revlm evaluate` found
"""
