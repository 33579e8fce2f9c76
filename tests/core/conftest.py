from tests.core.fixtures import ann, client, diverted, down, point_to, project, upstream, well

__all__ = ["ann", "client", "diverted", "down", "point_to", "project", "upstream", "well"]
