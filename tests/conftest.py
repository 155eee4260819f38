"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("salon", deadline=None)  # machines are shared: that an example was slow says nothing
settings.load_profile("salon")
