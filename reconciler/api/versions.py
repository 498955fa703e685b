"""The api-versions of raw reads. They are the defaults of the pinned SDKs, so that reads and typed
writes speak of one shape.
"""

RESOURCES = "2025-04-01"
LOG_ANALYTICS = "2025-07-01"
STORAGE = "2026-09-01"
APP = "2026-07-01"
ACTIVITY = "2015-04-01"
