#!/bin/sh
# The backup service's health check: 0 while the scheduler beats and says that all is well, 1 otherwise; one line why.
# A shell without children, because it runs every few seconds for ever. The scheduler judges; this only refuses to
# believe a verdict that has expired (in seconds of uptime, which no clock change moves) or whose writer is gone.
file=${BACKUP_HEALTH_FILE:-/tmp/backup-health}
if ! read -r pid until verdict message 2>/dev/null <"$file"; then
    echo "the scheduler has not started"
    exit 1
fi
read -r uptime _ </proc/uptime
if [ ! -d "/proc/$pid" ]; then
    echo "the scheduler is not running"
    exit 1
fi
if [ "${uptime%.*}" -gt "$until" ]; then
    echo "the scheduler hangs: no sign of life for $((${uptime%.*} - until + 60)) seconds"
    exit 1
fi
echo "$message"
[ "$verdict" = ok ]
