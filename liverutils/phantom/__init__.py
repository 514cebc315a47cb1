"""Synthetic patients with a truth that is known, seeded: the same seed gives the same bytes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
