"""nginx in front of nodes, as a proxy of WebSockets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.servers.processes import program

__all__ = ["nginx_command"]

_CONFIGURATION: Final = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream nodes {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout {timeout}s;
        }}
    }}
}}
"""


def nginx_command(directory: Path, port: int, upstreams: Sequence[str], timeout: int) -> list[str]:
    """Write nginx's configuration and return its command line.

    Args:
        directory: Where its files go.
        port: Where it listens.
        upstreams: ``host:port`` of each node.
        timeout: ``proxy_read_timeout``: it cuts what is idle for so many seconds.
    """
    configuration = directory / "nginx.conf"
    servers = " ".join(f"server {address};" for address in upstreams)
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, port=port, servers=servers, timeout=timeout)
    )
    found = program("nginx", package="nginx")
    return [found, "-c", str(configuration), "-p", str(directory), "-e", "stderr"]
