"""The errors of the page: of its start, and of requests that it refuses."""

from davs_jax.errors import DavsError


class AppError(DavsError):
    """An option or an environment with which the page cannot be served."""


class Refusal(DavsError):
    """A request that is not passed on to Gradio; its answer is the message, with HTTP's `status`."""

    def __init__(self, status: int, reason: str, remedy: str = ""):
        super().__init__(reason, remedy)
        self.status = status
