"""Which test runs each command of the README, and which brings about each of its troubles.

`tests/unit/test_readme.py` wants both complete, and the tests to be there.
"""

from __future__ import annotations

#: Typed by `tests/engine/test_readme.py` on one stack, in this order, and what they must print.
TYPED = {
    "python -m tests.generated": "",
    "python -m orchestrator compose": "current: docker-compose.yml",
    "source <(python -m orchestrator completion bash)": "",
    "curl -s http://127.0.0.1:8080/.export | .venv/bin/python -m service.check_targets": "0 ok, 0 dead, 0 unchecked",
    "curl -s -H 'Content-Type: application/json' -d "
    '\'{"name": "wiki", "url": "https://wiki.example.com/", "tags": ["docs"]}\' '
    "http://127.0.0.1:8080/.api/links": '"name": "wiki"',
    "curl -s 'http://127.0.0.1:8080/.api/links?q=wiki&limit=20'": '"name": "wiki"',
    "curl -si http://127.0.0.1:8080/.api/links/wiki": "ETag: ",
    "curl -s -X PATCH -H 'Content-Type: application/json' -H 'If-Match: \"...\"' -d '{\"name\": \"manual\"}' "
    "http://127.0.0.1:8080/.api/links/wiki": '"status": 412',
    "curl -s http://go.old/.export >links.jsonl": "",
    "curl -s --data-binary @links.jsonl -H 'Content-Type: application/x-ndjson' "
    "'http://127.0.0.1:8080/.api/import?dry_run=1'": '"dry_run": true',
    "curl -s --data-binary @links.jsonl -H 'Content-Type: application/x-ndjson' "
    "http://127.0.0.1:8080/.api/import": '"dry_run": false',
    "python -m orchestrator exec app flask user add ed --generate": "Password: ",
    "python -m orchestrator exec app flask user list": "ed",
    "python -m orchestrator exec app sh": "",
    "python -m orchestrator exec backup cat /backups/metrics.prom >new && mv new golinks.prom": "",
    "python -m orchestrator status --watch": "no drift",
    "python -m orchestrator logs -f app": "ready",
    "python -m orchestrator logs -f --level warning": "/.api/links/nosuch 404",
    "python -m orchestrator logs --request 4f1c2b": "",
    "python -m orchestrator logs app --since 2h --until 30m": "",
    "docker stats": "MEM USAGE",
    "docker volume inspect golinks_sqlite_data": "Mountpoint",
    "python -m orchestrator down": "down; the data is kept",
}

#: Run by another test, which needs more than a stack for it. `.ci/run` runs `python3 -m tests` on a fresh clone.
ELSEWHERE = {
    "python3 -m orchestrator deploy --setup": "tests/engine/test_setup.py::test_a_fresh_clone_and_one_command",
    "python3 -m tests": ".ci/run",
    "python -m tests.check": ".ci/run",
    "python -m pytest tests/unit/test_plan.py": ".ci/run",
    "printf '#!/bin/sh\\nexec .venv/bin/python -m tests.check\\n' >.git/hooks/pre-commit && "
    "chmod +x .git/hooks/pre-commit": "tests/unit/test_readme.py::test_the_hook_is_one_that_git_runs",
    "python3 -m orchestrator init ../guestbook": "tests/engine/test_own_app.py::test_the_guide",
    "name=$(docker ps -q --filter \"name=guestbook-app\") && docker exec -i $name sh -c 'cat >/data/new' "
    "<../guestbook/guests.sqlite3": "tests/engine/test_own_app.py::test_the_guide",
    "python -m orchestrator exec app sh -c 'rm -f /data/guests.sqlite3* && mv /data/new /data/guests.sqlite3'": (
        "tests/engine/test_own_app.py::test_the_guide"
    ),
    'docker restart $(docker ps -q --filter "name=guestbook-app")': "tests/engine/test_own_app.py::test_the_guide",
    "python -m orchestrator plan": "tests/engine/test_own_app.py::test_the_guide",
    "python -m orchestrator deploy": "tests/engine/test_own_app.py::test_the_guide",
    "python -m orchestrator rollback": "tests/engine/test_own_app.py::test_the_guide",
    "python -m orchestrator backup": "tests/engine/test_own_app.py::test_the_guide",
    "python -m orchestrator backups": "tests/engine/test_own_app.py::test_the_guide",
    "python -m orchestrator exec app flask user add ada --role admin": (
        "tests/engine/test_readme.py::test_a_password_is_asked_for_and_tokens_have_a_last_day"
    ),
    "python -m orchestrator exec app flask token add ada --label ci --scopes read,write --expires 2027-01-31": (
        "tests/engine/test_readme.py::test_a_password_is_asked_for_and_tokens_have_a_last_day"
    ),
    "python -m orchestrator exec app flask token list": (
        "tests/engine/test_readme.py::test_a_password_is_asked_for_and_tokens_have_a_last_day"
    ),
    "DOCKER_HOST=ssh://me@server python -m orchestrator deploy": (
        "tests/engine/test_engines.py::test_all_of_it_over_ssh"
    ),
    "DOCKER_HOST=ssh://me@server/run/user/1000/docker.sock python -m orchestrator status": (
        "tests/engine/test_engines.py::test_all_of_it_over_ssh"
    ),
    "DOCKER_HOST=tcp://server:2376 DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=~/certs python -m orchestrator status": (
        "tests/engine/test_engines.py::test_tls"
    ),
    "docker context create shop --docker host=ssh://me@server && DOCKER_CONTEXT=shop python -m orchestrator status": (
        "tests/engine/test_engines.py::test_contexts_as_the_docker_command_makes_them"
    ),
    "python3 -m orchestrator backups --from offsite": (
        "tests/engine/test_offsite.py::test_copies_come_back_on_a_bare_host"
    ),
    "python3 -m orchestrator restore latest --from offsite --key ./key": (
        "tests/engine/test_offsite.py::test_copies_come_back_on_a_bare_host"
    ),
    "docker-compose up -d": "tests/engine/test_compose.py::test_a_fresh_checkout_comes_up_equal_and_is_taken_over",
    "python -m orchestrator -e development deploy": (
        "tests/engine/test_development.py::test_a_change_of_code_is_served_and_needs_no_deployment"
    ),
    "python -m orchestrator -e development logs -f": (
        "tests/engine/test_development.py::test_an_error_opens_the_debugger_and_its_correction_closes_it"
    ),
    "python -m orchestrator -e development down": "tests/engine/test_development.py::test_production_is_not_touched",
    "docker-compose -f docker-compose.yml -f config/docker-compose.development.yml up --build": (
        "tests/engine/test_development.py::test_the_compose_way"
    ),
}

_UV = "needs uv, and what it writes is what the package index has on that day"
#: Run by no test, and why.
NOT_RUN = {
    "python3 -m tests --no-engine": "it would run this very test; `.ci/run` runs the same with an engine",
    "docker system prune": "it removes what others on the same engine have stopped",
    'compile="uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11"': _UV,
    "$compile --group service -o service/requirements.txt": _UV,
    "$compile --group agent -o orchestrator/agent/requirements.txt": _UV,
    "$compile --group rclone -o orchestrator/agent/rclone.requirements.txt": _UV,
    "tail -n +4 requirements.txt > rest.txt": _UV,
    "$compile --group orchestrator --group tests -c service/requirements.txt -o rest.txt": _UV,
    "{ head -3 requirements.txt; cat rest.txt; } > new.txt && mv new.txt requirements.txt && rm rest.txt": _UV,
}

_BAD_INPUT = "tests/engine/test_bad_input.py"
#: What the README's table of troubles says, by the test that brings it about and looks for it.
TROUBLES = {
    "no Docker engine answers at ...": f"{_BAD_INPUT}::test_no_engine",
    "the Docker engine at ... refuses this user": f"{_BAD_INPUT}::test_an_engine_that_refuses_this_user",
    "... does not let this user in by ssh": "tests/engine/test_engines.py::test_what_is_wrong_with_ssh",
    "the certificate that ... shows is not trusted": "tests/engine/test_engines.py::test_what_is_wrong_with_tls",
    "... settings are wrong": f"{_BAD_INPUT}::test_every_wrong_setting_is_told_at_once",
    "... is not used by anything": f"{_BAD_INPUT}::test_a_variable_that_nothing_uses_is_a_warning",
    "port ... is in use": f"{_BAD_INPUT}::test_a_port_that_a_process_holds",
    "the ... image could not be built": f"{_BAD_INPUT}::test_a_base_image_that_is_not_to_be_had",
    "a proxy on the way shows its own certificate": "tests/unit/test_build.py::test_hint_of_a_failed_build",
    "only ... are free for images": f"{_BAD_INPUT}::test_too_little_disk_for_a_build",
    "... exited with code ...": f"{_BAD_INPUT}::test_a_service_that_exits_at_once",
    "... did not become healthy": f"{_BAD_INPUT}::test_a_service_that_never_becomes_healthy",
    "the migration failed with code ...": (
        "tests/unit/test_apply.py::test_failed_migration_stops_before_the_candidate_starts"
    ),
    "the schema has moved since": "tests/unit/test_deploy.py::test_rollback_warns_of_what_it_does_not_take_back",
    "the image of release ... is gone": "tests/unit/test_history.py::test_named_and_refused",
    "another deployment of ... is under way": f"{_BAD_INPUT}::test_two_deployments_at_once",
    "the engine went away": "tests/engine/test_engine_dies.py::test_an_engine_that_dies_in_the_middle",
    "there is nothing of project ... to back up here": "tests/engine/test_backup.py::test_nothing_to_back_up",
    "last good snapshot ... ago": "tests/unit/test_status.py::test_verdict",
    "There is not enough space for this": "tests/unit/agent/test_safety.py::test_too_little_space_is_told_before",
    "... is not good: ...": "tests/unit/agent/test_safety.py::test_any_flipped_bit_is_refused",
    "... was begun and did not end": "tests/unit/agent/test_restore.py::test_one_at_a_time",
    "... was taken and is good, but is not on every remote": (
        "tests/engine/test_offsite.py::test_what_fails_is_said_and_made_up_for"
    ),
    "The data is on a ... file system": "tests/unit/agent/test_pure.py::test_a_volume_on_one_of_them_is_refused",
    "... is not what the settings give": "tests/unit/test_cli.py::test_a_compose_file_that_is_not_current",
    "... may do everything in ...": "tests/unit/test_exposure.py::test_open_to_all_and_published",
}
