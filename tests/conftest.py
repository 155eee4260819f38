"""What holds for all tests."""

import os

from hypothesis import settings

# Read when triton is imported: kernels run in Python, so that a machine without a GPU runs them too.
os.environ.setdefault("TRITON_INTERPRET", "1")

settings.register_profile("salon", deadline=None)  # machines are shared: that an example was slow says nothing
settings.load_profile("salon")
