"""The pictures of a report, each drawn light and dark, wide and narrow, on one canvas.

theme     colours
canvas    panels, keys, axes and labels; matplotlib's constrained layout finds their places
picture   a drawing with its words, as a PNG or for a page
loss, memory, buckets, throughput   of one run
overlay   of several runs
charts    of what a probe of `revlm evaluate` found
sweep     of a swept memory plan
"""
