"""Hold what Triton compiles: one function a kernel, which knows pointers and tiles and checks nothing.

Every kernel keeps the promise of batch invariance in the same way. A row is summed by one program, in an order that its
own sample's lengths decide, and tiles never reach over two samples where that order would depend on the neighbours. No
sum is split over programs, and none is atomic. Arguments that vary with the batch are not specialised on.
"""
