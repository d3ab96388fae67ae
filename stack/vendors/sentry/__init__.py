"""Sentry: takes the SDK's envelopes, and answers queries about errors and transactions.

Source: develop.sentry.dev (envelopes) and docs.sentry.io/api (organization events).
"""

from stack.vendors.sentry.app import Config, create_app

__all__ = ["Config", "create_app"]
