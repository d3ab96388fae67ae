"""``python -m stack.app``: serve one deployment, configured by the environment."""

import os

from stack.app.main import create_app
from stack.app.settings import Settings
from stack.serving import serve

if __name__ == "__main__":
    settings = Settings.from_environment(os.environ)
    serve((create_app(settings), settings.port))
