"""The options of one local Azure: where its state lives and how fast it moves. Built by
`start_options`, read by `assembly`, `lifecycle` and `server`.
"""

from dataclasses import dataclass
from pathlib import Path

from .arm.limits import Buckets
from .arm.pace import Pace

IMAGES = Path(__file__).with_name("images.yaml")


@dataclass(frozen=True)
class Options:
    """`operation_s` is the base length of a long-running operation; slow resources take a multiple
    of it.

    `retry_after_s` 0 means "answer with retry-after-ms", which the SDKs honour below one second; a
    whole number of seconds is sent as Retry-After, as Azure does. `real` takes Azure's own lengths
    instead; `rates` replaces Azure's request limits. `idle_s` is how long a connection may be
    silent. `speed` is how many of Azure's seconds pass for replicas in one of ours; `quotas` sets
    GPU quotas by the usage's name. `share_view` is how replicas see a share: `plain`, or `smb` as
    over SMB. `role` is the definition of the caller's role; without one the caller is an owner.
    """

    state_dir: Path
    port: int = 0
    operation_s: float = 0.1
    retry_after_s: int = 0
    page_size: int = 100
    token_s: int = 3600
    idle_s: float = 120.0
    real: bool = False
    rates: Buckets | None = None
    images: Path = IMAGES
    share_view: str = "plain"
    speed: float = 1.0
    quotas: tuple[tuple[str, int], ...] = ()
    role: Path | None = None

    @property
    def pace(self) -> Pace:
        return Pace(self.operation_s, self.real)

    @property
    def faults(self) -> Path:
        return self.state_dir / "faults.db"

    @property
    def database(self) -> Path:
        return self.state_dir / "azure.db"

    @property
    def files(self) -> Path:
        return self.state_dir / "files"

    @property
    def journal(self) -> Path:
        return self.state_dir / "journal.jsonl"

    @property
    def lock(self) -> Path:
        return self.state_dir / "server.lock"

    @property
    def log(self) -> Path:
        return self.state_dir / "server.log"
