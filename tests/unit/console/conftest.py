"""No deadlines: a busy machine says nothing about these functions."""

from hypothesis import settings

settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
