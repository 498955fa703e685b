"""Replicas as real processes in namespaces: what they see, how they live and die, who
adopts them.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local_azure.runtime import record
from infra.local_azure.runtime.processes import labelled
from infra.local_azure.runtime.workload import Mount
from tests.local_azure.stage import APP_ID, PROBES, SERVER, stage

_LOOK = """
import os, json, pathlib, socket, subprocess
def write(path):
    try: open(path + "/written", "w").close(); return True
    except OSError: return False
subprocess.run(["mount", "-o", "remount,rw,bind", "/data/share"], capture_output=True)
facts = {"share": os.listdir("/data/share"), "share_writable": write("/data/share"), "own_writable": write("/usr/share/own"),
         "tmp": os.listdir("/tmp"), "tmp_writable": write("/tmp"), "usr_writable": write("/usr"), "home": os.listdir("/home"),
         "processes": [name for name in os.listdir("/proc") if name.isdigit()],
         "status": pathlib.Path("/proc/self/status").read_text(),
         "host": socket.gethostbyname(socket.gethostname()), "hostname": socket.gethostname(), "shm": os.listdir("/dev/shm")}
pathlib.Path("/usr/share/own/facts.json").write_text(json.dumps(facts))
"""


def _state_of(pid):
    return Path(f"/proc/{pid}").exists()


async def test_a_replica_sees_its_volumes_and_nothing_of_the_machine(tmp_path):
    """Mount paths exist as declared, read-only holds even against mount(8), and the machine is
    untouched.
    """
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "model").touch()
    async with stage(tmp_path) as scene:
        mounts = (
            Mount(tmp_path / "share", "/data/share", read_only=True),
            Mount(tmp_path / "own", "/usr/share/own", read_only=False),
        )
        workload = scene.workload(command=("python3", "-c", _LOOK + SERVER), mounts=mounts)
        scene.scheduler.set_workloads([workload])
        status = await scene.healthy()
        facts = json.loads((tmp_path / "own" / "facts.json").read_text())
        assert facts["share"] == ["model"]
        assert not facts["share_writable"]
        assert facts["own_writable"]
        assert (facts["tmp"], facts["tmp_writable"], facts["usr_writable"], facts["shm"]) == (
            [],
            True,
            False,
            [],
        )
        assert "NoNewPrivs:\t1" in facts["status"]
        assert facts["processes"] == ["1"]
        assert facts["host"] == "127.0.0.1"
        assert facts["hostname"] == status.replicas[0].name
        assert not Path("/usr/share/own").exists()
        assert not Path("/data/share").exists()


async def test_a_replica_gets_only_its_own_variables(tmp_path, monkeypatch):
    """Nothing of this process's environment leaks; Azure's variables are there and no others."""
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(env={"MODE": "test"})])
        status = await scene.healthy()
        env = (await scene.get())["env"]
        name = status.replicas[0].name
        assert env.pop("PATH").startswith(f"{sys.base_prefix}/bin:")
        env.pop("LC_CTYPE", None)  # Python's own doing
        assert env == {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "MODE": "test",
            "CONTAINER_APP_NAME": "phi",
            "CONTAINER_APP_REVISION": "phi--one",
            "CONTAINER_APP_HOSTNAME": "phi--one.dev.local",
            "CONTAINER_APP_ENV_DNS_SUFFIX": "dev.local",
            "CONTAINER_APP_PORT": "8000",
            "CONTAINER_APP_REPLICA_NAME": name,
        }
        assert (await scene.get())["pid"] == 1, "a container's first process"
        assert status.replicas[0].pid > 1, "the local Azure knows it by this machine's number"
        assert "stdout F listening" in status.replicas[0].log.read_text()
        assert (scene.folder / "replicas" / name / "spec.json").stat().st_mode & 0o077 == 0


async def test_three_replicas_share_a_port_number(tmp_path):
    """Each has a network of its own; the requests go to all of them."""
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(min_replicas=3)])
        status = await scene.healthy(replicas=3)
        assert status.running_state == "RunningAtMaxScale"
        names = {(await scene.get())["replica"] for _ in range(20)}
        assert names <= {replica.name for replica in status.replicas}


async def test_a_killed_container_is_restarted_in_its_replica(tmp_path):
    """kill -9 of the first process: same replica, new pid, restart counted, its children gone."""
    child = "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(command=("python3", "-c", child + SERVER))])
        before = (await scene.healthy()).replicas[0]
        label = scene.scheduler._replicas[0].record.label
        assert len(list(labelled(label))) == 2
        os.kill(before.pid, signal.SIGKILL)
        await scene.until(lambda status: not status.replicas[0].ready)
        after = (await scene.healthy()).replicas[0]
        assert (after.name, after.restart_count) == (before.name, 1)
        assert after.pid != before.pid
        assert len(list(labelled(label))) == 2
        assert '"ContainerTerminated"' in scene.events()
        assert '"ContainerBackOff"' in scene.events()


async def test_a_killed_shim_takes_its_container_with_it_and_is_replaced(tmp_path):
    """kill -9 of the shim leaves no process behind, not even a detached child, and a new replica
    comes.
    """
    child = "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(command=("python3", "-c", child + SERVER))])
        before = (await scene.healthy()).replicas[0]
        label = scene.scheduler._replicas[0].record.label
        shim = int(Path(f"/proc/{before.pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(shim, signal.SIGKILL)
        after = await scene.until(
            lambda status: any(
                replica.ready and replica.name != before.name for replica in status.replicas
            )
        )
        assert [replica.name for replica in after.replicas] != [before.name]
        assert list(labelled(label)) == []
        assert '"ReplicaLost"' in scene.events()


async def test_a_new_scheduler_adopts_what_lives_and_ends_what_nobody_wants(tmp_path):
    """The server may die: pids, readiness and requests stay; unwanted replicas end once the wanted
    set is known.
    """
    async with stage(tmp_path) as scene:
        both = [scene.workload(), scene.workload("other--one", app="other", ingress_port=None)]
        scene.scheduler.set_workloads(both)
        before = (await scene.healthy()).replicas[0]
        other = (await scene.healthy("other--one")).replicas[0]
        await scene.get()
        await scene.scheduler.stop(terminate=False)
        assert (await scene.get())["replica"] == before.name, "the ingress serves without a server"
        await scene.restart_scheduler()
        assert _state_of(other.pid), "nothing ends before the wanted set is known"
        scene.scheduler.set_workloads(both[:1])
        assert (await scene.until(lambda status: bool(status.replicas))).replicas[0].ready
        await scene.until(lambda status: not status.replicas, "other--one")
        assert not _state_of(other.pid)
        after = (await scene.healthy()).replicas[0]
        assert (after.name, after.pid, after.restart_count) == (before.name, before.pid, 0)


async def test_a_crash_loop_is_told(tmp_path):
    """A new revision whose container exits is Unhealthy and says so; the exit code is in the system
    log.
    """
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads(
            [scene.workload(command=("python3", "-c", "raise SystemExit(7)"))]
        )
        status = await scene.until(lambda status: status.health_state == "Unhealthy")
        assert (status.running_state, status.provisioning_error) == (
            "Failed",
            "Container crashing: phi",
        )
        assert status.replicas[0].running_state == "Waiting"
        assert "CrashLoopBackOff" in status.replicas[0].details
        assert "exit code '7'" in scene.events()


async def test_a_missing_command_is_told(tmp_path):
    """A command that does not exist names itself."""
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(command=("no-such-program",))])
        status = await scene.until(lambda status: status.health_state == "Unhealthy")
        assert "no-such-program" in status.provisioning_error


async def test_an_unmapped_image_waits_in_pull_back_off_until_it_is_mapped(tmp_path):
    """The status and the system log carry the reason; mapping the image heals it without a new
    revision.
    """
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(image="unknown:1")])
        status = await scene.until(lambda status: status.health_state == "Unhealthy")
        assert status.provisioning_error.startswith('Failed to pull image "unknown:1"')
        assert "ImagePullBackOff" in status.replicas[0].details
        scene.images.write_text(scene.images.read_text().replace("python:3.11*", "unknown:*"))
        await scene.healthy()


async def test_failing_probes_take_traffic_away_and_restart(tmp_path):
    """Readiness removes the replica from the ingress; liveness restarts its container."""
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload()])
        before = (await scene.healthy()).replicas[0]
        await scene.get("/break/ready")
        unready = await scene.until(lambda status: not status.replicas[0].ready)
        assert unready.replicas[0].started
        await scene.restart_scheduler()
        scene.scheduler.set_workloads([scene.workload(probes=(*PROBES,))])
        async with (
            scene.client() as session,
            session.get("/", headers={"Accept": "application/json"}) as response,
        ):
            assert (response.status, response.content_type) == (503, "application/json")
        scene.scheduler.set_workloads([])
        await scene.until(lambda status: not status.replicas)
        scene.scheduler.set_workloads([scene.workload()])
        before = (await scene.healthy()).replicas[0]
        await scene.get("/break/live")
        after = await scene.until(
            lambda status: status.replicas[0].restart_count == 1 and status.replicas[0].ready
        )
        assert after.replicas[0].pid != before.pid
        assert "Probe of Liveness failed: HTTP probe failed with statuscode: 503" in scene.events()


_HANDLER = """
import signal, sys, threading, time, os
def stop(*_):
    print("draining", flush=True); time.sleep(float(os.environ["DRAIN"])); print("drained", flush=True); os._exit(0)
signal.signal(signal.SIGTERM, stop)
"""


@pytest.mark.parametrize(("drain", "code"), [("0.3", "0"), ("60", "137")])
async def test_a_replica_that_goes_gets_sigterm_and_its_grace(tmp_path, drain, code):
    """A handler may finish within the grace period; after it everything is killed, and Kubernetes
    shows 128 and the number of the signal.
    """
    async with stage(tmp_path) as scene:
        command = ("python3", "-c", _HANDLER + SERVER)
        scene.scheduler.set_workloads(
            [scene.workload(command=command, env={"DRAIN": drain}, termination_grace_s=1)]
        )
        await scene.healthy()
        scene.scheduler.set_workloads([])
        ending = await scene.until(lambda status: status.replicas[0].ending)
        assert (ending.running_state, ending.replicas[0].ready) == ("Deprovisioning", True)
        await scene.until(lambda status: not status.replicas)
        assert f"exit code '{code}'" in scene.events()


async def test_restarting_a_revision_replaces_its_replicas_new_ones_first(tmp_path):
    """At no moment is there no ready replica."""
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(env={"BOOT_SECONDS": "0.3"})])
        before = (await scene.healthy()).replicas[0]
        await scene.scheduler.restart(scene.workload().key)
        ready = []

        def replaced(status):
            ready.append(any(replica.ready for replica in status.replicas))
            return [replica.name for replica in status.replicas if replica.ready] not in (
                [],
                [before.name],
            ) and len(status.replicas) == 1

        await scene.until(replaced)
        assert all(ready)


async def test_a_restart_goes_through_a_quota_with_room_for_one_more(tmp_path):
    """Then the replicas are replaced one after the other, and no fewer are ready than before."""
    async with stage(tmp_path) as scene:
        workload = scene.workload(min_replicas=2, max_replicas=2, claims=("gpu",))
        scene.scheduler.set_workloads([workload], {"gpu": 3})
        before = await scene.healthy(replicas=2)
        await scene.scheduler.restart(workload.key)
        old, fewest = {replica.name for replica in before.replicas}, 2

        def replaced(status):
            nonlocal fewest
            ready = {replica.name for replica in status.replicas if replica.ready}
            fewest = min(fewest, len(ready))
            return len(ready) == 2 and not old & {replica.name for replica in status.replicas}

        await scene.until(replaced)
        assert fewest == 2


async def test_a_replica_falls_ill_and_gets_well_on_demand(tmp_path):
    """Crashing, hanging and never ready, for as long as the app is named; a kill is one restart."""
    async with stage(tmp_path, speed=10) as scene:
        scene.scheduler.set_workloads([scene.workload()])
        first = (await scene.healthy()).replicas[0]
        assert scene.scheduler.kill(first.name)
        assert not scene.scheduler.kill("no-such-replica")
        await scene.until(lambda status: status.replicas[0].restart_count == 1)
        await scene.healthy()
        scene.scheduler.set_ailments({APP_ID: "unready"})
        sick = await scene.until(lambda status: not status.replicas[0].ready)
        assert (sick.replicas[0].started, sick.replicas[0].running_state) == (True, "Running")
        scene.scheduler.set_ailments({})
        await scene.healthy()
        scene.scheduler.set_ailments({APP_ID: "hang"})
        hung = await scene.until(lambda status: not status.replicas[0].ready)
        assert hung.replicas[0].running_state == "Running"
        scene.scheduler.set_ailments({})
        await scene.healthy()
        scene.scheduler.set_ailments({APP_ID: "crash"})
        await scene.until(lambda status: status.running_state == "Degraded")
        scene.scheduler.set_ailments({})
        await scene.healthy()


async def test_a_port_that_is_not_the_target_port_is_told(tmp_path):
    """A container that is up and listens elsewhere explains why its revision does not get ready."""
    async with stage(tmp_path) as scene:
        probe = {
            "type": "Startup",
            "tcpSocket": {"port": 9000},
            "periodSeconds": 1,
            "failureThreshold": 240,
        }
        scene.scheduler.set_workloads([scene.workload(target_port=9000, probes=(probe,))])
        told = "The TargetPort 9000 does not match the listening port 8000."
        status = await scene.until(lambda status: status.details == told)
        assert (status.running_state, status.health_state, status.provisioning_error) == (
            "Activating",
            "None",
            None,
        )


async def test_only_a_gpu_profile_shows_the_machines_gpus(tmp_path, monkeypatch):
    """A device that stands for a GPU can be read with one and is empty without."""
    monkeypatch.setattr(record, "GPU_DEVICES", ("/dev/zer[o]",))
    look = "import pathlib; print('sees', len(open('/dev/zero', 'rb').read(3)), flush=True)\n"
    async with stage(tmp_path) as scene:
        for revision, gpu, seen in (("phi--gpu", True, "sees 3"), ("phi--cpu", False, "sees 0")):
            scene.scheduler.set_workloads(
                [scene.workload(revision, command=("python3", "-c", look + SERVER), gpu=gpu)]
            )
            status = await scene.healthy(revision)
            assert seen in status.replicas[0].log.read_text()


def test_a_kernel_that_refuses_is_answered_with_one_line(tmp_path):
    """What is refused and how to allow it, on one line."""
    program = (
        "from infra.local_azure.runtime import namespace\ntry: namespace.enter('x')\nexcept OSError"
        " as error: print(error)"
    )
    # this limit belongs to the user namespace unshare makes
    limit = "echo 0 > /proc/sys/user/max_user_namespaces"
    script = f'{limit}; exec "$0" -c "$1"'
    argv = ["unshare", "--user", "--map-root-user", "sh", "-c", script, sys.executable, program]
    result = subprocess.run(
        argv, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert result.stdout.count("\n") == 1
    assert "the kernel refuses user, network, UTS and IPC namespaces" in result.stdout
    assert "sysctl -w user.max_user_namespaces" in result.stdout
