"""The page to sign in with a password, and the way out."""

from __future__ import annotations

import time
import unicodedata

from flask import Blueprint, Response, make_response, redirect, render_template, request, session
from loguru import logger
from werkzeug.exceptions import NotFound, ServiceUnavailable
from werkzeug.wrappers import Response as AnyResponse

from service import auth, db, passwords, people, texts, throttle
from service.access import MAX_PERSON, fold_person
from service.answers import problem, wants_json

blueprint = Blueprint("sign_in", __name__)

PATH = "/.sign-in"
MAX_NEXT = 2048  # characters
WRONG = "The name or the password is wrong."


@blueprint.before_request
def only_with_passwords() -> None:
    """Elsewhere nobody signs in here."""
    if auth.access().auth != "password":
        raise NotFound("Nobody signs in here.")
    db.ensure_open()


@blueprint.get(PATH)
@auth.needs(auth.EVERYBODY)
def page() -> AnyResponse:
    """The form; whoever is signed in goes on at once."""
    following = local_path(request.args.get("next", ""))
    return redirect(following, 303) if auth.person() else _form(200, following)


@blueprint.post(PATH)
@auth.needs(auth.EVERYBODY)
def sign_in() -> AnyResponse:
    """Starts a session; or 401, or 429 when there were too many attempts."""
    following = local_path(request.form.get("next", ""))
    typed = request.form.get("name", "").strip()[: 2 * MAX_PERSON]
    name, address, now = fold_person(typed), auth.client_address(), int(time.time())
    if wait := throttle.begin(name, address, now):
        logger.warning("sign-in refused for {} s: too many attempts from {}", wait, address)
        answer = _form(429, following, typed, f"There were too many attempts. Please try again in {duration(wait)}.")
        answer.headers["Retry-After"] = str(wait)
        return answer
    account = people.find(name)
    kept = account.password if account and not account.disabled else None
    try:
        right = passwords.is_right(request.form.get("password", ""), kept)
    except passwords.BusyError:
        raise ServiceUnavailable("Many people are signing in. Please try again in a moment.", retry_after=5) from None
    if account is None or not right:
        # What was typed as a name may be a password.
        logger.warning("sign-in failed from {}", address)
        answer = _form(401, following, typed, WRONG)
        answer.headers["WWW-Authenticate"] = 'Bearer realm="golinks"'
        return answer
    throttle.succeeded(name, address)
    session.clear()
    session.update(person=account.name, mark=str(account.sessions))
    session.permanent = True
    logger.info("signed in from {}", address)
    if following == "/" or following.startswith("/."):
        return redirect(following, 303)
    # A link leads away from here, and browsers hold a redirect after a form against the form's policy.
    return make_response(render_template("going.html", address=following, said=texts.say("You are signed in.")))


@blueprint.post("/.sign-out")
@auth.needs(auth.EVERYBODY)
def sign_out() -> AnyResponse:
    """Ends the session in this browser."""
    session.clear()
    return redirect("/", 303)


def local_path(text: str) -> str:
    """`text` if it is a path here and can't be taken for anything else; else "/"."""
    plain = text.startswith("/") and not text.startswith("//") and "\\" not in text and len(text) <= MAX_NEXT
    if not plain or any(unicodedata.category(character)[0] in "CZ" for character in text):
        return "/"
    return "/" if text.startswith((PATH, "/.sign-out")) else text


def duration(seconds: int) -> str:
    """`45 seconds`, `2 minutes`."""
    return f"{seconds} seconds" if seconds < 100 else f"{-(-seconds // 60)} minutes"


def _form(status: int, following: str, name: str = "", wrong: str = "") -> AnyResponse:
    if wants_json() and status != 200:
        return problem(status, wrong)
    nobody = not wrong and not people.everybody()
    page = render_template("sign_in.html", following=following, name=name, wrong=wrong, nobody=nobody)
    return Response(page, status, mimetype="text/html")
