"""How gunicorn runs the service. Settings come from the environment, see service/settings.py."""

from __future__ import annotations

import os
from pathlib import Path

from service import server
from service.access import LOOPBACK

_settings = server.settings_or_exit()

bind = f"0.0.0.0:{os.environ.get('PORT') or '8000'}"
workers = _settings.workers
worker_class = "gthread"
threads = _settings.threads
# Imports happen once, in the master; the hooks below keep the database out of the forks.
preload_app = True

# Longer than the proxy keeps an idle connection (60 s): the side that sends the requests must be the first to close,
# or one of them meets a connection that is just being closed.
keepalive = 75
timeout = 30
graceful_timeout = 30
# A link's target may be asked for with a long query.
limit_request_line = 8190

loglevel = _settings.log_level
logger_class = server.JsonLogger
# The root file system is read-only: heartbeats go to memory, and there is no place for a control socket.
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
# Whose word is taken for how and from where a request came: the proxy's; config/production.toml says where it is.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS") or LOOPBACK

on_starting = server.on_starting
post_fork = server.post_fork
post_worker_init = server.post_worker_init
worker_exit = server.worker_exit
