"""Startup, readiness and liveness probes: kubelet's rules, Container Apps' defaults. `replica` runs
them per container start.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .connector import open_socket
from .shim_client import ShimClient


@dataclass(frozen=True)
class Probe:
    """One probe. `path` is None for TCP. Times in seconds."""

    kind: str
    port: int
    path: str | None = None
    tls: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    successes: int = 1
    failures: int = 3


@dataclass(frozen=True)
class Verdict:
    """A probe's answer changed something: `kind` passed its success threshold or reached its
    failure threshold.
    """

    kind: str
    passed: bool
    message: str
    count: int


def effective(
    probes: Sequence[Mapping[str, Any]], target_port: int | None, speed: float = 1.0
) -> dict[str, Probe]:
    """The declared probes by kind, and with ingress the TCP ones that Container Apps adds for
    missing kinds.

    `speed` shortens what lies between two probes, never the time that an answer may take.
    """
    chosen: dict[str, Probe] = {}
    if target_port is not None:
        # https://learn.microsoft.com/azure/container-apps/health-probes#default-configuration
        chosen = {
            "Startup": Probe(
                "Startup", target_port, initial_delay_s=1, period_s=1, timeout_s=3, failures=240
            ),
            "Readiness": Probe(
                "Readiness", target_port, initial_delay_s=3, period_s=5, timeout_s=5, failures=48
            ),
            "Liveness": Probe("Liveness", target_port),
        }
    for raw in probes:
        probe = _parse(raw, target_port)
        chosen[probe.kind] = probe
    return {
        kind: replace(
            probe, initial_delay_s=probe.initial_delay_s / speed, period_s=probe.period_s / speed
        )
        for kind, probe in chosen.items()
    }


async def check(probe: Probe, shim: ShimClient) -> tuple[bool, str]:
    """Runs one probe once: (passed, reason of the failure)."""
    try:
        async with asyncio.timeout(probe.timeout_s):
            if probe.path is None:
                (await open_socket(shim, probe.port)).close()
                return True, ""
            status = await _get(probe, shim)
    except TimeoutError:
        return False, f"no answer within {probe.timeout_s:g} s"
    except OSError as error:
        return False, f"connection refused on port {probe.port}" if isinstance(
            error, ConnectionRefusedError
        ) else str(error)
    except (ValueError, IndexError):
        return False, "the answer is not HTTP"
    return 200 <= status < 400, f"HTTP probe failed with statuscode: {status}"


async def run(
    probes: Mapping[str, Probe],
    shim: ShimClient,
    report: Callable[[Verdict], Awaitable[None]],
    *,
    started: bool,
) -> None:
    """Probes until cancelled: startup first (unless `started`), then readiness and liveness side by
    side.
    """
    if not started:
        startup = probes.get("Startup")
        if startup is not None and not await _until_started(startup, shim, report):
            return
        if startup is None:
            await report(Verdict("Startup", passed=True, message="", count=1))
    # Without ingress there is no probe that could say it.
    if "Readiness" not in probes:
        await report(Verdict("Readiness", passed=True, message="", count=1))
    async with asyncio.TaskGroup() as group:
        for kind in ("Readiness", "Liveness"):
            if kind in probes:
                group.create_task(_for_ever(probes[kind], shim, report, delayed=not started))


async def _until_started(
    probe: Probe, shim: ShimClient, report: Callable[[Verdict], Awaitable[None]]
) -> bool:
    await asyncio.sleep(probe.initial_delay_s)
    for failures in range(1, probe.failures + 1):
        passed, message = await check(probe, shim)
        await report(Verdict(probe.kind, passed, message, failures))
        if passed:
            return True
        await asyncio.sleep(probe.period_s)
    return False


async def _for_ever(
    probe: Probe, shim: ShimClient, report: Callable[[Verdict], Awaitable[None]], *, delayed: bool
) -> None:
    if delayed:
        await asyncio.sleep(probe.initial_delay_s)
    successes = failures = 0
    while True:
        passed, message = await check(probe, shim)
        successes, failures = (successes + 1, 0) if passed else (0, failures + 1)
        if not passed or successes == probe.successes:
            await report(Verdict(probe.kind, passed, message, failures or successes))
        await asyncio.sleep(probe.period_s)


async def _get(probe: Probe, shim: ShimClient) -> int:
    """The status of one GET, on a connection of its own as kubelet makes it."""
    reader, writer = await asyncio.open_connection(sock=await open_socket(shim, probe.port))
    try:
        if probe.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = (
                False,
                ssl.CERT_NONE,
            )  # kubelet does not verify either
            await writer.start_tls(context)
        headers = {
            "Host": f"127.0.0.1:{probe.port}",
            "User-Agent": "kube-probe/1.30",
            "Accept": "*/*",
            "Connection": "close",
        }
        headers |= dict(probe.headers)
        lines = [
            f"GET {probe.path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        writer.write("\r\n".join(lines).encode())
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


def _parse(raw: Mapping[str, Any], target_port: int | None) -> Probe:
    target = raw.get("httpGet") or raw.get("tcpSocket") or {}
    http = "httpGet" in raw and raw["httpGet"] is not None
    return Probe(
        kind=str(raw.get("type", "Liveness")).capitalize(),
        port=int(target.get("port") or target_port or 80),
        path=(target.get("path") or "/") if http else None,
        tls=http and str(target.get("scheme", "HTTP")).upper() == "HTTPS",
        headers=tuple(
            (header["name"], header["value"]) for header in target.get("httpHeaders") or ()
        )
        if http
        else (),
        initial_delay_s=float(raw.get("initialDelaySeconds") or 0),
        period_s=float(raw.get("periodSeconds") or 10),
        timeout_s=float(raw.get("timeoutSeconds") or 1),
        successes=int(raw.get("successThreshold") or 1),
        failures=int(raw.get("failureThreshold") or 3),
    )
