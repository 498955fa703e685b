"""All documents together: implicit Environments, references, refusals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.api import tags
from reconciler.api.documents import Environment, InferenceService
from reconciler.api.manifest import Loaded
from reconciler.api.reasons import Reason
from reconciler.api.source import Missing
from reconciler.composition import environment as environments
from reconciler.composition.download import Downloads
from reconciler.composition.expansions import Expansions
from reconciler.composition.gateway import GatewayComposer, app_of
from reconciler.composition.names import Names, names_of, rotated
from reconciler.composition.surroundings import SourceMissingError, Surroundings
from reconciler.composition.world import World
from reconciler.engine.document_state import DocumentRefusal
from reconciler.engine.external import Desired, DocumentRef, Policy


@dataclass(frozen=True)
class Composition:
    """`desired` is in Azure's order of creation, `names` is by Environment. Nothing is written for
    the documents in `refusals`. `left` are former registrations of shares, which may go.
    """

    desired: tuple[Desired, ...]
    names: dict[str, Names] = field(default_factory=dict)
    refusals: dict[DocumentRef, DocumentRefusal] = field(default_factory=dict)
    left: tuple[Desired, ...] = ()


Services = Sequence[tuple[Loaded, InferenceService]]


def compose(
    documents: Sequence[Loaded], world: World, before: Expansions | None = None
) -> Composition:
    """Expand `documents`. Equal inputs give equal results, with and without `before`, which only
    saves work.
    """
    expansions = before or Expansions()
    expansions.begin(world)
    services = [
        (loaded, loaded.document)
        for loaded in documents
        if isinstance(loaded.document, InferenceService)
    ]
    declared = {
        each.document.metadata.name: each.document
        for each in documents
        if isinstance(each.document, Environment)
    }
    refusals = {**_elsewhere(declared, world), **_moved(services, world)}
    _add_implicit(declared, (service for _, service in services))
    wanted = _still_wanted(declared, services, refusals, world)
    names = {name: _names_now(document, world) for name, document in wanted.items()}
    hub_models = _hub_models(services)
    desired: list[Desired] = []
    for name, document in wanted.items():
        reference = DocumentRef("Environment", name)
        tags, generation = _tags(reference, name, world), world.generation(reference)
        desired += environments.expand(document, names[name], tags, generation)
        policy = Policy(document.spec.reconcile_policy.value)
        share = environments.share_of(names[name])
        desired += Downloads(names[name], share, tags, generation, policy, world).expand(
            hub_models[name]
        )
    desired = environments.unify_shared(desired)
    around = {name: _around(document, names[name]) for name, document in wanted.items()}
    for loaded, service in services:
        if service.spec.environment in wanted and _ref(service) not in refusals:
            try:
                place = _surroundings(loaded, service, around[service.spec.environment], world)
                desired += expansions.expand(service, place, world)
            except SourceMissingError as error:
                why = error.missing
                refusals[_ref(service)] = DocumentRefusal(why.reason, why.message, why.waits)
    # Last, because a gateway's routes come from the expanded services.
    for name, document in wanted.items():
        if document.spec.gateway is not None:
            desired += _expand_gateway(document, names[name], services, desired, refusals, world)
    return Composition(tuple(desired), names, refusals, tuple(_left_behind(wanted, world)))


def names_in(documents: Sequence[Loaded], subscription: str, location: str) -> dict[str, Names]:
    """Azure's names for every Environment that `documents` declare or imply."""
    found = {
        each.document.metadata.name: each.document
        for each in documents
        if isinstance(each.document, Environment)
    }
    services = (each.document for each in documents)
    _add_implicit(found, (each for each in services if isinstance(each, InferenceService)))
    return {name: names_of(document, subscription, location) for name, document in found.items()}


def _names_now(environment: Environment, world: World) -> Names:
    """Azure's names as of now: after a rotation of the account's key the share is registered under
    another name.
    """
    names = names_of(environment, world.subscription, world.location)
    found = world.registered.get(names.environment)
    return rotated(names, found.rotation) if found and _managed(environment) else names


def _left_behind(wanted: Mapping[str, Environment], world: World) -> Iterator[Desired]:
    for name, environment in wanted.items():
        found = world.registered.get(name)
        generation = world.generation(DocumentRef("Environment", name))
        for rotation, mode in found.left if found and _managed(environment) else ():
            names = rotated(names_of(environment, world.subscription, world.location), rotation)
            yield environments.storage(environment, names, generation, mode)


def _managed(environment: Environment) -> bool:
    """Whether the daemon may write; if not, it does not renew registered keys either."""
    return environment.spec.reconcile_policy.value == Policy.MANAGE.value


def _around(environment: Environment, names: Names) -> Surroundings:
    """The surroundings that all services of an Environment share."""
    gateway = environment.spec.gateway
    return Surroundings(
        names=names,
        share=environments.share_of(names),
        profiles=tuple(environments.workload_profiles(environment)),
        base_dir=Path(),
        tags={},
        written="",
        gateway=app_of(environment),
        gateway_keys=gateway.api_keys if gateway else (),
    )


def _surroundings(
    loaded: Loaded, service: InferenceService, around: Surroundings, world: World
) -> Surroundings:
    return replace(
        around,
        base_dir=loaded.base_dir,
        tags=_tags(_ref(service), service.spec.environment, world),
        written=f"{loaded.file.name}:{loaded.position(('spec',), key=True)[0]}",
    )


def _expand_gateway(
    environment: Environment,
    names: Names,
    services: Services,
    desired: Sequence[Desired],
    refusals: dict[DocumentRef, DocumentRefusal],
    world: World,
) -> list[Desired]:
    reference = DocumentRef("Environment", names.environment)
    if isinstance(why := world.gateway, Missing):
        refusals[reference] = DocumentRefusal(why.reason, why.message, why.waits)
        return []
    tokens = environment.spec.gateway.entra if environment.spec.gateway else None
    if tokens and not (tokens.tenant or world.tenant):
        text = "gateway.entra names no tenant: write tenant, or set AZURE_TENANT_ID"
        refusals[reference] = DocumentRefusal(Reason.INVALID_DOCUMENT, text)
        return []
    here = {_ref(each) for _, each in services if each.spec.environment == names.environment}
    return GatewayComposer(
        environment,
        names,
        _tags(reference, names.environment, world),
        behind=[item for item in desired if item.document in here],
        kept=[ref.name for ref in here if ref in refusals],
        world=world,
    ).expand()


def _hub_models(services: Services) -> dict[str, set[str]]:
    """The models from the hub, by Environment."""
    found: dict[str, set[str]] = defaultdict(set)
    for _, service in services:
        if service.spec.model and service.spec.model.source.startswith("hf://"):
            found[service.spec.environment].add(service.spec.model.source)
    return found


def _elsewhere(
    declared: dict[str, Environment], world: World
) -> dict[DocumentRef, DocumentRefusal]:
    """Environments of a subscription that this daemon does not drive."""
    return {
        DocumentRef("Environment", name): DocumentRefusal(
            Reason.SUBSCRIPTION_MISMATCH,
            f"the document wants subscription {document.spec.subscription_id}, and this daemon"
            f" drives {world.subscription}",
        )
        for name, document in declared.items()
        if document.spec.subscription_id not in (None, world.subscription.lower())
    }


def _moved(services: Services, world: World) -> dict[DocumentRef, DocumentRefusal]:
    """Services whose container app lives in another Environment: ACA cannot move an app."""
    refusals = {}
    for _, service in services:
        name, wanted = service.metadata.name, service.spec.environment
        home = world.homes.get(name, wanted)
        if home != wanted:
            refusals[_ref(service)] = DocumentRefusal(
                Reason.ENVIRONMENT_IMMUTABLE,
                f"service {name!r} runs in Environment {home!r} and the document now says"
                f" {wanted!r}; a container app cannot move to another environment. Put {home!r}"
                " back, or delete the service first and create it again.",
            )
    return refusals


def _still_wanted(
    declared: dict[str, Environment],
    services: Services,
    refusals: dict[DocumentRef, DocumentRefusal],
    world: World,
) -> dict[str, Environment]:
    """All Environments except refused ones and those that only refused services ask for: the edit
    of one name must neither build a second Environment beside the old one nor delete the old one.
    """
    lived_in = set(world.homes.values())
    living: dict[str, list[InferenceService]] = defaultdict(list)
    for _, service in services:
        living[service.spec.environment].append(service)
    wanted = {
        name: each
        for name, each in declared.items()
        if DocumentRef("Environment", name) not in refusals
    }
    for name in list(wanted):
        users = living[name]
        homes = [
            world.homes[service.metadata.name] for service in users if _ref(service) in refusals
        ]
        # The Environment has no app, and all its services have theirs in another one: somebody
        # changed the name of the Environment.
        if users and len(users) == len(homes) and name not in lived_in:
            del wanted[name]
            refusals[DocumentRef("Environment", name)] = _renamed(homes[0], name)
        refusals |= {
            DocumentRef("Environment", home): _renamed(home, name)
            for home in homes
            if home not in declared
        }
    return wanted


def _renamed(home: str, name: str) -> DocumentRefusal:
    return DocumentRefusal(
        Reason.ENVIRONMENT_IMMUTABLE,
        f"services of Environment {home!r} now ask for {name!r}; an Environment cannot be renamed."
        f" Put {home!r} back, or delete the services first.",
    )


def _ref(service: InferenceService) -> DocumentRef:
    return DocumentRef("InferenceService", service.metadata.name)


def _add_implicit(declared: dict[str, Environment], services: Iterable[InferenceService]) -> None:
    """Add the Environments that services name and no document declares."""
    for name in dict.fromkeys(service.spec.environment for service in services):
        if name not in declared:
            declared[name] = _implicit(name)


def _implicit(name: str) -> Environment:
    return Environment.model_validate(
        {"kind": "Environment", "metadata": {"name": name}, "spec": {}}
    )


def _tags(document: DocumentRef, environment: str, world: World) -> dict[str, str]:
    return tags.ownership(world.owner_of(environment), str(document), environment)
