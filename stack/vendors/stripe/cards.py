"""The test payment methods, and what each does: docs.stripe.com/testing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A test card. Without a ``code`` it pays; else it is declined for that reason."""

    last4: str
    brand: str = "visa"
    code: str | None = None
    decline_code: str | None = None
    message: str = "Your card was declined."

    def payment_method(self, name: str) -> Json:
        """Give the card as Stripe's object ``payment_method``."""
        return {
            "id": name,
            "object": "payment_method",
            "type": "card",
            "card": {"brand": self.brand, "last4": self.last4},
        }


_PAYING = {
    "pm_card_visa": Card(last4="4242"),
    "pm_card_visa_debit": Card(last4="5556"),
    "pm_card_mastercard": Card(last4="4444", brand="mastercard"),
    "pm_card_amex": Card(last4="8431", brand="amex"),
}
_DECLINED = {
    "": Card(last4="0002", code="card_declined", decline_code="generic_decline"),
    "InsufficientFunds": Card(
        last4="9995",
        code="card_declined",
        decline_code="insufficient_funds",
        message="Your card has insufficient funds.",
    ),
    "LostCard": Card(last4="9987", code="card_declined", decline_code="lost_card"),
    "StolenCard": Card(last4="9979", code="card_declined", decline_code="stolen_card"),
    "VelocityLimitExceeded": Card(
        last4="6975", code="card_declined", decline_code="card_velocity_exceeded"
    ),
    "ExpiredCard": Card(
        last4="0069", code="expired_card", message="Your card has expired."
    ),
    "IncorrectCvc": Card(
        last4="0127",
        code="incorrect_cvc",
        message="Your card's security code is incorrect.",
    ),
    "ProcessingError": Card(
        last4="0119",
        code="processing_error",
        message="An error occurred while processing your card. "
        "Try again in a little bit.",
    ),
}
# Stripe's documentation has used both spellings of the declining ones.
TEST_CARDS: Mapping[str, Card] = _PAYING | {
    f"{prefix}_chargeDeclined{reason}": card
    for prefix in ("pm_card", "pm_card_visa")
    for reason, card in _DECLINED.items()
}
