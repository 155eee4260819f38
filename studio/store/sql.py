"""Import SQLAlchemy, or raise an error that says how to get it."""

from __future__ import annotations

from ...errors import complaint
from ..errors import StoreMissing

__all__ = ["postgresql", "sa", "sqlite"]

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise StoreMissing(
        complaint("store", "no package SQLAlchemy", "it is installed", "install Salon again: pip install .")
    ) from error
