"""Every scenario of `features/`, bound to the steps."""

from pytest_bdd import scenarios

scenarios("")
