"""`start --share-view smb`: the replicas of a local Azure see their share as SMB shows it, each
through a mount of its own.
"""

import asyncio
import json
from contextlib import AsyncExitStack, suppress

import aiohttp
import pytest

from infra.local_azure.faults import commands
from tests.local_azure.ground import app_body, lay_ground, until
from tests.local_azure.smb_mount import FUSE

pytestmark = pytest.mark.skipif(
    not FUSE, reason="/dev/fuse cannot be opened by this user; root can, or `chmod 666 /dev/fuse`"
)

SERVER = """
import json, os, time
from http.server import BaseHTTPRequestHandler, HTTPServer
def attempt(action):
    try: return action()
    except OSError as error: return type(error).__name__
def timed(action):
    began = time.monotonic()
    action()
    return time.monotonic() - began
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        mounted = [line.split()[2] for line in open("/proc/mounts") if line.split()[1] == "/mnt/share"]
        seen = {"type": mounted[-1], "names": sorted(os.listdir("/mnt/share")), "other case": open("/mnt/share/MODEL.bin").read(),
                "seconds": timed(lambda: open("/mnt/share/large.bin", "rb").read()),
                "write": attempt(lambda: open("/mnt/share/own", "w").write("x"))}
        body = json.dumps(seen).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *arguments): pass
HTTPServer(("", 8000), Handler).serve_forever()
"""


async def test_a_replica_sees_the_share_as_over_smb(
    make_azure, images, connected_to, tmp_path
) -> None:
    """The mount is SMB's view: any case, read-only as registered, a listing as old as the volume's
    actimeo, and streams as slow as the fault ShareSlow has them.
    """
    azure = make_azure(
        "--operation-seconds", "0.05", "--images", str(images), "--share-view", "smb"
    )
    async with AsyncExitStack() as stack:
        clients = await connected_to(azure, stack)
        body = app_body(await lay_ground(clients, "rg-smb", "stsmb"), mounted=True)
        (azure.state / "files" / "stsmb" / "phi" / "sub" / "large.bin").write_bytes(b"x" * 500_000)
        faults = [{"fault": "ShareSlow", "name": "stsmb/*", "bytesPerSecond": 1_000_000}]
        (tmp_path / "faults.json").write_text(json.dumps(faults))
        assert commands.load(azure.state / "faults.db", tmp_path / "faults.json") == 0
        await asyncio.sleep(1)  # what no request triggers is brought about every 0.2 s
        template = body["properties"]["template"]
        template["containers"][0]["command"] = ["python3", "-c", SERVER]
        template["volumes"][0]["mountOptions"] = "actimeo=3600,file_mode=0644"
        app = await (
            await clients.apps.container_apps.begin_create_or_update("rg-smb", "web", body)
        ).result()
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=azure.tls()))
        )

        async def ask():
            with suppress(
                aiohttp.ClientConnectionError
            ):  # the ingress listens once it has heard of the app
                async with http.get(f"https://{app.configuration.ingress.fqdn}/") as answer:
                    return answer.status == 200 and await answer.json(content_type=None)
            return None

        seen = await until(ask)
        assert seen.pop("seconds") >= 0.45
        assert seen == {
            "type": "fuse.smb",
            "names": ["large.bin", "model.bin"],
            "other case": "weights",
            "write": "OSError",
        }
        (azure.state / "files" / "stsmb" / "phi" / "sub" / "late").write_text("late")
        assert (await ask())["names"] == ["large.bin", "model.bin"]
