"""The steps of a service's rollout, and what a person decided about it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from reconciler.api import rollout_fields
from reconciler.api.resources import ContainerAppSpec, RolloutStep
from reconciler.composition.world import World
from serving.catalogue import Expectation


def steps(
    documented: Iterable[rollout_fields.TrafficStep],
    evaluation: Callable[[str | None], tuple[Expectation, ...]],
) -> tuple[RolloutStep, ...]:
    """The steps of a document; `evaluation` gives the prompts of a file."""
    return tuple(
        RolloutStep(step.weight, step.seconds(), evaluation(step.evaluation)) for step in documented
    )


def decided(app: ContainerAppSpec, world: World) -> ContainerAppSpec:
    """`app` with a person's orders, as far as they are about the revision that it asks for."""
    refused, instead = world.rollbacks.get(app.service, ("", ""))
    promoted, weight = world.promotions.get(app.service, ("", 0))
    return replace(
        app,
        rotated=world.rotations.get(app.service, ()),
        instead=instead if refused == app.revision else "",
        promoted=weight if promoted == app.revision else 0,
    )
