"""The page before the page: a form for user and password.

Gradio's own form is not used: its page tells every visitor which endpoints there are.
"""

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
    """Whether an ASGI request to Gradio's app carries the cookie of somebody who gave a password."""
    from starlette.requests import Request

    app, cookies = scope["app"], Request(scope).cookies
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names)
