# The three images of the stack: --target proxy, app or backup. For the classic builder and BuildKit alike.
# No package manager, no adduser, numeric users: so any base will do, Alpine, Debian or one made on this machine.
# Python stages share one base, because wheels for another C library fail silently.
ARG PYTHON_IMAGE=python:3.13-alpine
ARG NGINX_IMAGE=nginx:alpine


FROM ${NGINX_IMAGE} AS proxy
LABEL org.opencontainers.image.title="golinks proxy" \
      org.opencontainers.image.description="Nginx in front of golinks: unprivileged, configured, reloadable" \
      org.opencontainers.image.licenses="MIT"
WORKDIR /etc/nginx
COPY config/nginx /etc/nginx/
COPY config/probe /usr/local/bin/probe
# A checkout's umask must not decide what the numeric user may read. The upstream folder is a volume at run time. So is
# /static, the app's: whoever mounts a volume while it is empty gives it the owner of the folder in the image.
RUN chmod -R u=rwX,go=rX /etc/nginx \
 && chmod 0755 /etc/nginx/entrypoint /etc/nginx/use /usr/local/bin/probe \
 && cp upstream/upstream.conf upstream.default.conf \
 && chown -R 10002:10002 upstream \
 && install -d -o 10001 -g 10001 -m 0755 /static
USER 10002:10002
EXPOSE 8080
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/etc/nginx/entrypoint"]


# pip lives in an environment of its own, so those of the images never hold it.
FROM ${PYTHON_IMAGE} AS builder
ARG BUILD_CA=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_CONFIG_FILE=/opt/pip.conf
WORKDIR /opt/app
# The certificates of the base where it has some, else pip's own; BUILD_CA is added for these stages only.
RUN python3 -m venv /opt/pip \
 && known=/etc/ssl/certs/ca-certificates.crt \
 && if [ ! -s "$known" ]; then known=$(/opt/pip/bin/python -c "from pip._vendor import certifi; print(certifi.where())"); fi \
 && cp -L "$known" /opt/ca.pem \
 && printf '\n%s\n' "$BUILD_CA" >> /opt/ca.pem \
 && printf '[global]\ncert = /opt/ca.pem\n' > "$PIP_CONFIG_FILE"


FROM builder AS app-packages
COPY service/requirements.txt /opt/requirements.txt
# Type stubs, C sources, tests and apsw's own tools are never used at run time and would be a third of the layer.
RUN python3 -m venv --without-pip /opt/venv \
 && /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --only-binary=:all: \
    --require-hashes -r /opt/requirements.txt \
 && find /opt/venv \( -name '*.pyi' -o -name '*.pyx' -o -name '*.c' -o -name '*.h' \) -type f -delete \
 && find /opt/venv -depth -type d \( -name tests -o -name include -o -name sqlite_extra_binaries \) -exec rm -rf {} + \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
 && /opt/venv/bin/python -B -c "import apsw, flask, gunicorn, loguru, markupsafe._speedups, peewee, regex._regex"


FROM builder AS app-code
COPY config/probe /opt/probe
COPY config/gunicorn.conf.py /opt/app/gunicorn.conf.py
COPY service /opt/app/service
RUN rm -f service/requirements.txt \
 && chmod -R u=rwX,go=rX /opt/app \
 && chmod 0755 /opt/probe \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/app


FROM ${PYTHON_IMAGE} AS app
LABEL org.opencontainers.image.title="golinks" \
      org.opencontainers.image.description="Short links for a team: go/wiki leads where the team says" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FLASK_APP=service:create_app
WORKDIR /opt/app
RUN install -d -o 10001 -g 10001 -m 0750 /data \
 && install -d -o 10001 -g 10001 -m 0755 /static
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["gunicorn", "-c", "/opt/app/gunicorn.conf.py", "service:create_app()"]
# Code last: after a change in it, all that is above comes from the cache.
COPY --from=app-code /opt/probe /usr/local/bin/probe
COPY --from=app-packages /opt/venv /opt/venv
COPY --from=app-code /opt/app /opt/app


# BACKUP_EXTRAS: what the settings ask for besides, each a name with a NAME.requirements.txt.
FROM builder AS backup-packages
ARG BACKUP_EXTRAS=""
COPY orchestrator/agent/requirements.txt orchestrator/agent/rclone.requirements.txt \
     orchestrator/agent/litestream.requirements.txt /opt/
RUN python3 -m venv --without-pip /opt/venv \
 && set -- -r /opt/requirements.txt \
 && for name in $BACKUP_EXTRAS; do set -- "$@" -r "/opt/$name.requirements.txt"; done \
 && /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --only-binary=:all: \
    --require-hashes "$@" \
 && find /opt/venv \( -name '*.pyi' -o -name '*.pyx' -o -name '*.c' -o -name '*.h' \) -type f -delete \
 && find /opt/venv -depth -type d \( -name tests -o -name include -o -name sqlite_extra_binaries \) -exec rm -rf {} + \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
 && /opt/venv/bin/python -B -c "import apsw, cronsim"


FROM builder AS backup-code
COPY config/probe /opt/probe
COPY orchestrator/__init__.py /opt/app/orchestrator/__init__.py
COPY orchestrator/agent /opt/app/orchestrator/agent
RUN rm -f orchestrator/agent/*requirements.txt \
 && chmod -R u=rwX,go=rX /opt/app \
 && chmod 0755 /opt/probe \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/app


FROM ${PYTHON_IMAGE} AS backup
LABEL org.opencontainers.image.title="golinks backup" \
      org.opencontainers.image.description="Takes, proves and restores snapshots of SQLite databases" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/app
RUN install -d -o 10001 -g 10001 -m 0750 /data /backups
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "orchestrator.agent"]
CMD ["schedule"]
COPY --from=backup-code /opt/probe /usr/local/bin/probe
COPY --from=backup-packages /opt/venv /opt/venv
COPY --from=backup-code /opt/app /opt/app
