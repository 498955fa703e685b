"""Real vLLM whose share is what SMB shows of it: a model loads, and an adapter changes under load,
through stale listings.
"""

import pytest

from tests import tiny_model
from tests.e2e.chat import Chat
from tests.e2e.model_service import BOOT, documents, facts, key, starts
from tests.local_azure.smb_mount import FUSE

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not FUSE,
        reason="/dev/fuse cannot be opened by this user; root can, or `chmod 666 /dev/fuse`",
    ),
]


async def test_a_model_is_served_from_what_smb_shows(make_stage):
    """It boots from the mount, answers, takes a retrained adapter hot, and no request fails
    meanwhile.
    """
    stage = make_stage("--share-view", "smb")
    tiny_model.build(stage.root)
    stage.save(documents("red"))
    up = stage.up(resync=5)
    try:
        await up.converged("tiny", seconds=BOOT)
        endpoint, before = facts(up)
        async with Chat(endpoint, key(stage), stage.ca, ("tiny", "red")) as chat:
            await chat.more(20)
            tiny_model.make_adapter(
                stage.root / "adapters" / "red", "violet", model=stage.root / "model"
            )
            for _ in range(60):
                await chat.more(10)
                if await chat.ask("red") == "violet":
                    break
        assert chat.failures == []
        assert set(chat.seen("red")) == {"red", "violet"}
        assert starts(facts(up)[1]) == starts(before)
    finally:
        up.end()
