"""A share whose streams are slow: each open file has its own rate, and several add up."""

import threading
import time

import pytest

from infra.local_azure.smb.pace import StreamPace
from tests.local_azure.smb_mount import FUSE, SmbMount

READ = """
import time
from serving.start.read_ahead import ReadAhead
began = time.monotonic()
ahead = ReadAhead([share / "model.safetensors"], readers)
ahead.start()
ahead.join(60)
result = [ahead.bytes, time.monotonic() - began]
ahead.close()
"""


def test_each_stream_has_its_rate_and_waits_for_no_other():
    """Ten answers of one file come at its rate, one after the other, while another file's come
    between them.
    """
    came, done = [], threading.Event()

    def send(reply):
        came.append((reply, time.monotonic()))
        if len(came) == 12:
            done.set()

    pace = StreamPace(1000.0, send)
    began = time.monotonic()
    for number in range(10):
        pace.answer(1, 50, b"slow %d" % number)
    for number in range(2):
        pace.answer(2, 50, b"other %d" % number)
    assert done.wait(10)
    slow = [reply for reply, _ in came if reply.startswith(b"slow")]
    assert slow == [b"slow %d" % number for number in range(10)]
    assert came[-1][1] - began >= 0.5
    at = {reply: when - began for reply, when in came}
    assert at[b"other 0"] < at[b"slow 5"]
    assert at[b"slow 9"] >= 0.49


@pytest.mark.skipif(not FUSE, reason="/dev/fuse cannot be opened by this user")
def test_several_readers_of_one_file_add_up(tmp_path):
    """One reader is as fast as one stream, four are faster by nearly four."""
    source = tmp_path / "source"
    source.mkdir()
    size = 128 << 20
    with (source / "model.safetensors").open("wb") as file:
        file.truncate(size)
    seconds = {}
    for readers in (1, 4):
        mount = SmbMount(source, tmp_path / f"m{readers}", "actimeo=1,streamrate=100e6")
        try:
            count, seconds[readers] = mount(READ, readers=readers)
        finally:
            mount.close()
        assert count == size
    assert seconds[1] >= 0.9 * size / 100e6
    assert seconds[4] < 0.6 * seconds[1]
