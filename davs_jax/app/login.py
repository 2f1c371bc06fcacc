"""Logins: the users and their passwords, and the page that asks for them.

Gradio's own form is not used, because its page lists the endpoints to every visitor.
"""

import hmac
import os
from pathlib import Path

from davs_jax.app.errors import AppError

LOGIN = "DAVS_LOGIN"  # environment variable
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Log in</title>
<style>
  body { font: 1rem system-ui, sans-serif; max-width: 20rem; margin: 15vh auto; padding: 0 1rem; }
  label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
  input, button { padding: .5rem; margin: .25rem 0 1rem; }
</style>
<h1>Log in</h1>
<form>
  <label>User <input name="username" autocomplete="username" required autofocus></label>
  <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
  <button>Log in</button>
  <p role="alert"></p>
</form>
<script>
  const form = document.querySelector("form"), alert = document.querySelector("[role=alert]");
  form.addEventListener("submit", async event => {
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch("login", {method: "POST", body}).catch(() => null);
    if (answer && answer.ok) location.reload();
    else alert.textContent = answer ? "User or password is wrong." : "The server does not answer.";
  });
</script>
</html>
"""


def signed_in(scope) -> bool:
    """Whether an ASGI request to Gradio's app carries the cookie of a visitor who has logged in."""
    from starlette.requests import Request

    app, cookies = scope["app"], Request(scope).cookies
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names)


def read_logins(path: Path | None) -> dict[str, str]:
    """Passwords by user, one line `user:password` each, from a file, or else from $DAVS_LOGIN; {} without either.

    Raises:
      AppError: the file cannot be read, or a line is not of this form.
    """
    source, text = f"${LOGIN}", os.environ.get(LOGIN, "")
    if path is not None:
        source = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise AppError(f"{path}: cannot be read ({error})", "give a file of lines user:password") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs = [line.partition(":")[::2] for line in lines]
    if not all(user and word for user, word in pairs) or (path is not None and not pairs):
        # The message never quotes the line, which may hold a password.
        raise AppError(f"{source}: holds a line that is not user:password, or no line", "write one per line")
    return dict(pairs)


def matches(logins: dict[str, str], user: str, word: str) -> bool:
    """Whether the password is the user's; takes the same time for unknown users."""
    right = hmac.compare_digest(logins.get(user, "").encode(), word.encode())
    return right and user in logins
