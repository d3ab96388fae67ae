"""Where pytest learns of the practice stack and the steps."""

pytest_plugins = [
    "pytester",
    "steps.plugin",
    "steps.guards",
    "steps.telling",
    "steps.release",
    "steps.colours",
    "steps.outcome",
    "steps.flows",
    "steps.matrix",
    "steps.matrix_outcome",
    "steps.matrix_forgery",
    "steps.flags",
    "steps.tracking",
    "steps.application",
    "steps.application_outcome",
    "steps.recovery",
    "steps.recovery_outcome",
    "steps.schema",
    "steps.schema_outcome",
    "steps.backup",
]
