"""``python -m stack.vendors JSON``: every vendor on its own port of one process.

JSON maps a vendor's name to its configuration; vendors that it leaves out do not run.
"""

import json
import sys

from stack.serving import serve
from stack.vendors import auth, sentry, slack, stripe

VENDORS = {"stripe": stripe, "sentry": sentry, "slack": slack, "auth": auth}


def main(text: str) -> None:
    """Serve the vendors named in ``text`` until told to leave.

    Raises:
        KeyError: a vendor that does not exist here.
        TypeError: a configuration with a value too many or too few.

    """
    apps = []
    for name, values in json.loads(text).items():
        vendor = VENDORS[name]
        config = vendor.Config(**values)
        apps.append((vendor.create_app(config), config.port))
    serve(*apps)


if __name__ == "__main__":
    main(sys.argv[1])
