"""Builds one local Azure: makes every part once and gives it to the parts that need it. Used by
`server`, which serves the result.
"""

from dataclasses import dataclass

from .arm.activity import ActivityLog
from .arm.front import Front
from .arm.limits import APP_INTERVAL_S, OFF, Buckets, Limits
from .arm.operations import Operations
from .arm.polling import Polling
from .arm.registration import Registrations
from .arm.roles import Roles
from .certificates import Certificates
from .changes import Changes
from .control import quotas
from .control.apps import AppControl
from .control.assignments import Assignments
from .control.jobs import JobControl
from .control.mounts import Mounts
from .control.records import Records
from .control.vaults import Vaults
from .control.workloads import Workloads
from .control.writes import Writes
from .faults.endings import Endings
from .faults.fault_store import FaultStore
from .faults.hooks import Hooks
from .faults.standing import StandingFaults
from .files.front import FilesFront
from .files.property_store import PropertyStore
from .files.request import DataPlane
from .files.share_copies import ShareCopies
from .files.share_records import Shares
from .files.tree import Tree
from .files.usage import Usage
from .login import Login
from .logstream import LogHost
from .options import Options
from .providers import catalogue
from .providers.app.image_check import ImageCheck
from .providers.deployments.deployment_request import DeploymentRequests
from .providers.deployments.deployment_run import Runs
from .providers.lock import Locks
from .runtime.executions import Executions
from .runtime.scheduler import Scheduler
from .store import Store
from .vault_front import VaultFront


@dataclass(frozen=True)
class Parts:
    """What the server starts, asks and stops."""

    store: Store
    faults: FaultStore
    login: Login
    tree: Tree
    operations: Operations
    hooks: Hooks
    standing_faults: StandingFaults
    apps: AppControl
    jobs: JobControl
    runs: Runs
    arm: Front
    files: FilesFront
    vaults: VaultFront
    logs: LogHost

    def listen_at(self, base: str) -> None:
        """`base` is the URL at which this Azure will be reached."""
        self.arm.base = self.files.plane.base = base
        self.apps.reach(int(base.rpartition(":")[2]))

    def close(self) -> None:
        self.files.close()
        self.faults.close()
        self.store.close()


def assemble(options: Options, tls: Certificates) -> Parts:
    """Make the parts, in the order of their dependence."""
    store, faults, changes = Store(options.database), FaultStore(options.faults), Changes()
    for name, limit in options.quotas:
        quotas.set_limit(store, name, limit)
    login, pace = Login(store, options.token_s), options.pace
    tree, copies = _tree(options, store, changes)
    shares = Shares(store, tree, copies, changes)
    mounts = Mounts(store, tree, options.share_view)
    scheduler = Scheduler(
        options.state_dir, options.images, (tls.certificate, tls.key), speed=options.speed
    )
    apps = AppControl(store, scheduler, Workloads(store, mounts))
    jobs = JobControl(store, Executions(options.state_dir, options.images), mounts)
    changes.subscribe(apps.changed)
    changes.subscribe(jobs.changed)
    operations = Operations(store, pace, Endings(store, faults, changes))
    hooks = Hooks(faults, store, operations, login.identity, changes, tree.root)
    registrations = Registrations(store, pace.speed)
    roles = Roles(options.role)
    front = Front(login, _limits(options), registrations, hooks, options.page_size, roles)
    activity = ActivityLog(store, login.identity, operations)
    front.watch(activity.note)
    records = Records(store, login, operations)
    polling = Polling(store, pace, options.retry_after_s)
    writes = Writes(store, records, operations, polling, changes)
    requests = DeploymentRequests(store, login, front)
    runs = Runs(store, records, front, requests, pause_s=max(0.02, options.operation_s / 4))
    basics = (store, records, operations, polling, writes, changes, login, registrations, activity)
    vaults = Vaults(store)
    images = ImageCheck(options.images, Assignments(store), vaults)
    above = (tree, shares, copies, apps, jobs, front, requests, runs, images, roles, vaults)
    for provider in catalogue.build((*basics, *above)):
        front.add(provider.routes(), provider.shapes)
        operations.add(provider.finishers())
        records.shown |= provider.shown
        if isinstance(provider, Locks):
            front.guard(provider.check)
    plane = DataPlane(
        store=store,
        tree=tree,
        shares=shares,
        extras=PropertyStore(options.state_dir / "files.db"),
        usage=Usage(),
        idle_s=options.idle_s,
    )
    return Parts(
        store=store,
        faults=faults,
        login=login,
        tree=tree,
        operations=operations,
        hooks=hooks,
        standing_faults=StandingFaults(faults, store, apps, changes),
        apps=apps,
        jobs=jobs,
        runs=runs,
        arm=front,
        files=FilesFront(plane, login, hooks.files),
        vaults=VaultFront(store, login, vaults, changes),
        logs=LogHost(store, login, apps, jobs),
    )


def _tree(options: Options, store: Store, changes: Changes) -> tuple[Tree, ShareCopies]:
    tree = Tree(options.files)
    return tree, ShareCopies(store, tree, changes)


def _limits(options: Options) -> Limits:
    """Azure's limits, refilled as much faster as the pace makes operations shorter."""
    buckets = options.rates or Buckets().faster(options.pace.speed)
    return Limits(buckets, 0 if buckets == OFF else options.pace.scaled(APP_INTERVAL_S))
