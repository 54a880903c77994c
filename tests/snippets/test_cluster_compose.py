"""The compose file of the cluster gives learners the nodes that the pages were run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from valkey_doctest.servers import deployments

FILE = Path(__file__).parents[2] / "snippets" / "cluster" / "docker-compose.yml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))["services"]
    return services


def test_it_starts_the_nodes_of_the_pages(services: dict[str, Any]) -> None:
    network = services.pop("network")
    assert network["ports"] == ["127.0.0.1:7001-7006:7001-7006"]
    assert {service["container_name"] for service in services.values()} == {node.name for node in deployments.NODES}
    for node, service in zip(deployments.NODES, services.values(), strict=True):
        words = service["command"].split()
        options = dict(zip(words[1::2], words[2::2], strict=True))
        assert options == {
            "--port": str(node.port),
            "--protected-mode": "no",
            "--cluster-enabled": "yes",
            "--cluster-announce-ip": "127.0.0.1",
            "--cluster-node-timeout": str(deployments.NODE_TIMEOUT),
        }
        assert service["network_mode"] == "service:network"
        assert service["image"] == network["image"] == "valkey/valkey:${VALKEY_VERSION:-9.1}"
