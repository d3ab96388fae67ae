@smoke
Feature: Smoke: the critical flows
  What a visitor must be able to do at any time. They run against the practice stack,
  or against any address: pytest -m smoke --stack external --stack-url URL

  Scenario: A supplier signs up
    When a supplier signs up
    Then the supplier is welcomed by name
    And the same e-mail cannot sign up again

  Scenario: A form is submitted
    When a couple submits a form
    Then the submission can be read again, word for word

  @stripe
  Scenario: A payment is taken once
    When a couple pays for an order
    Then the order becomes paid when its webhook has arrived
    And paying for the same order again takes no second payment

  @stripe
  Scenario: A declined card pays for nothing
    When a couple pays for an order with a card that is declined
    Then the payment is refused and the order is not paid

  Scenario: The smoke command tries all of them
    When the smoke command is run
    Then it reports that every flow passes
