"""Styles of a model: a space of vectors, what turns pictures and numbers into them, and them into adapters.

`encoder.py` makes a vector of a picture, `space.py` holds what the checkpoint ships and makes tokens of vectors,
`numbers.py` picks the vector of a number, `choice.py` turns what a request asks for into the adapters of its spec. A
style is an adapter like others, whose name says how its tokens are made, so that any engine of the model can make them:
nothing has to be registered, broadcast or kept.
"""
