# SPDX-License-Identifier: Apache-2.0
"""SQLite without the Python half of the standard library's sqlite3: connect() and the exceptions, 1 ms instead of 11.

`sqlite3` imports datetime and collections to convert types that nobody asks it to convert. Its C half, `_sqlite3`,
imports functools for one thing, lru_cache as the cache of prepared statements; that is written in C as well, and
is handed over directly. Where the interpreter has it otherwise, the ordinary module is used. Imports nothing of
minirt.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection, Error, IntegrityError, connect
else:
    _lent = "functools" not in sys.modules
    try:
        if _lent:
            from _functools import _lru_cache_wrapper

            sys.modules["functools"] = _functools = type(sys)("functools")
            _functools.lru_cache = lambda size: lambda function: _lru_cache_wrapper(function, size, False, tuple)
        from _sqlite3 import Connection, Error, IntegrityError, connect
    except ImportError:
        sys.modules.pop("functools", None) if _lent else None
        from sqlite3 import Connection, Error, IntegrityError, connect
    finally:
        if _lent and not hasattr(sys.modules.get("functools"), "wraps"):
            sys.modules.pop("functools", None)  # whoever needs all of it imports it whole

__all__ = ["Connection", "Error", "IntegrityError", "connect"]
