"""From a commit to pods that answer, on a real cluster."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.repository import open_repository
from pipeline.stages import stages

from .conftest import Client, Project, wait_until

NAME = "late-flights"


def test_a_model_is_released_packaged_deployed_and_asked_from_another_pod(
    flights: Project, client: Callable[[], Client]
) -> None:
    made = flights.run()
    assert [made[step].action for step in ("release", "deploy", "verify")] == ["ran"] * 3
    assert made["deploy"].facts["address"] == f"http://{NAME}.{flights.namespace}.svc"
    (container,) = flights.get("deployment", NAME)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == made["deploy"].facts["image"]
    assert "@sha256:" in container["image"], "a digest, never a tag"
    (stage,) = stages(open_repository(flights.root), NAME)
    assert stage.image == container["image"], "Git says which image"

    asking = client()
    wait_until(lambda: asking.answered().get("1.0.0", 0) > 50, "fifty answers")
    assert asking.dropped() == {}
    assert flights.run()["deploy"].action == "reused"
