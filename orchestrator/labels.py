"""Labels: Compose's, so that its commands see what we made, and our own facts under `orchestrator.*`."""

from __future__ import annotations

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
NETWORK_KEY = "com.docker.compose.network"
VOLUME_KEY = "com.docker.compose.volume"
VERSION = "com.docker.compose.version"
#: Compose's version that the labels follow; v1 fails on a container without one.
COMPOSE_VERSION = "1.29.2"

ROLE = "orchestrator.role"
SPEC = "orchestrator.spec"
RELEASE = "orchestrator.release"
OWNER = "orchestrator.owner"
#: On an image: the digest of all it is made of but what a running container can be given instead (its configuration).
FIXED = "orchestrator.fixed"
#: On an image: the digest of what its migration is made of.
SCHEMA = "orchestrator.schema"

#: The label values of `orchestrator.role`.
#: `step`: made and removed within one step of a plan, so one that is left belongs to a run that was killed.
ROLE_SERVICE, ROLE_STEP, ROLE_AGENT = "service", "step", "agent"
#: Of everything that a rehearsal of a restore makes, its volumes too: while the lock is not held, it is nobody's.
ROLE_REHEARSAL = "rehearsal"
#: Of a container that is never started: a restore was begun and has not ended.
ROLE_RESTORE = "restore"
