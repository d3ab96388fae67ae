"""Run the platform: ``python -m stack.platform JSON``."""

import json
import sys

from stack.platform import api
from stack.platform.config import parse_all
from stack.platform.edge import Edge
from stack.platform.projects import Projects
from stack.platform.world import World
from stack.serving import serve


def main() -> None:
    """Serve the API, each project's edge, and each deployment on a port of its own.

    The second project is the API of the first one: its deployments are the colours.
    """
    worlds = [World(config) for config in parse_all(json.loads(sys.argv[1]))]
    others = [Edge(world) for world in worlds[1:]]
    edges = [Edge(worlds[0], colours=others[0] if others else None), *others]
    serve(
        (api.build(Projects(*worlds)), worlds[0].config.api_port),
        *((edge.production(), edge.world.config.edge_port) for edge in edges),
        *(
            (e.alone(each), each.port)
            for e in edges
            for each in (*e.world.config.deployments, *e.world.config.later)
        ),
    )


if __name__ == "__main__":
    main()
