"""Run the platform: ``python -m stack.platform JSON``."""

import json
import sys

from stack.platform import api
from stack.platform.config import parse
from stack.platform.edge import Edge
from stack.platform.world import World
from stack.serving import serve


def main() -> None:
    """Serve the API, the edge, and each deployment on a port of its own."""
    config = parse(json.loads(sys.argv[1]))
    world = World(config)
    edge = Edge(world)
    serve(
        (api.build(world), config.api_port),
        (edge.production(), config.edge_port),
        *((edge.alone(each), each.port) for each in config.deployments),
    )


if __name__ == "__main__":
    main()
