"""Where pytest learns of the practice stack and the steps."""

pytest_plugins = ["pytester", "steps.plugin", "steps.release", "steps.flows"]
