"""Stripe: payments that are taken once, refunds, and signed webhooks.

Source: docs.stripe.com/api, and what the SDK ``stripe`` 16.1 sends and accepts.
"""

from stack.vendors.stripe.app import Config, create_app

__all__ = ["Config", "create_app"]
