"""How requests reach a cluster: without its `Warning` headers."""

from __future__ import annotations

from typing import Any

from elastic_transport import Urllib3HttpNode


class QuietNode(Urllib3HttpNode):
    """A node of a cluster, whose answers warn of nothing.

    A cluster warns in each answer that touches a system index, which `*` does. The client makes a Python
    warning of it and first looks up its place in the whole stack, which reads source files and takes longer
    than the request. The place is in this package, so whoever reads the warning could not act on it.
    """

    def perform_request(self, *args: Any, **kwargs: Any) -> Any:
        """See `BaseNode.perform_request`."""
        response = super().perform_request(*args, **kwargs)
        response.meta.headers.pop("warning", None)
        return response
