"""Turn messages into examples."""

from clone.prepare.stage import PrepareReport, prepare

__all__ = ["PrepareReport", "prepare"]
