"""The engine by subject; each name here is the same object as the one in ``security``."""

from __future__ import annotations

from security.modules import credentials, intel, middleware, taxii, threat, utils

__all__ = ["credentials", "intel", "middleware", "taxii", "threat", "utils"]
