"""The API: a project of its own on the platform. Its alias moving is the switch.

So blue and green are two of its deployments, and it goes back as the application does.
"""

from dataclasses import dataclass

from .application import Application

__all__ = ["Api"]


@dataclass(slots=True)
class Api(Application):
    """Rolls the API back on the `Platform` that has its project."""

    name: str = "api"
