"""Styles of a model: a space of vectors, the ways from pictures and numbers to vectors, and from vectors to adapters.

`encoder.py` makes a vector of a picture, `space.py` holds what the checkpoint ships and makes tokens of vectors,
`numbers.py` picks the vector of a number, `choice.py` turns the styles of a request into the adapters of its spec. A
style is an adapter like others. Its name says how its tokens are made, so any engine of the model can make them, and no
style has to be registered, broadcast or kept.
"""
