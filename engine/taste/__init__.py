"""Learn what a user likes from choices between pictures, in a model's style space.

`space.py` holds the plain numbers of a model's space, by which style vectors become coordinates; `preference.py` learns
utilities of coordinates from comparisons; `selection.py` chooses the pair to show next; `vectors.py` makes the style
vector of a profile, which the attention takes as an adapter; `evidence.py` says how far a profile can be trusted. All
of it is numpy over plain numbers: no model, no store, no clock. The same comparisons give the same profile.
"""
