"""Carries out the parsed options of the command line."""

import argparse
import sys
import threading

from davs_jax import inference
from davs_jax.app.limits import Limits
from davs_jax.app.login import read_logins
from davs_jax.app.origins import LOOPBACK
from davs_jax.app.server import served
from davs_jax.parallel.compilation import keep_compilations
from davs_jax.provenance import signing


def run(args: argparse.Namespace) -> None:
    """Serves the page until the process is interrupted.

    Raises:
      DavsError: it cannot be served.
    """
    logins = read_logins(args.login)
    if not logins and args.host not in LOOPBACK:
        _say(f"warning: everyone who reaches {args.host} can use this page; ask for a password with --login")
    signer = signing.signer(args.certificate, args.key, _say)
    limits = Limits(args.max_upload, args.max_seconds, keep=args.keep, request_mb=args.max_request)
    keep_compilations()
    model = inference.load(args.checkpoint)
    with served(model, limits, args.host, args.port, logins, signer, args.allow_origin) as address:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


def _say(sentence: str) -> None:
    print(f"davs-app: {sentence}", file=sys.stderr)
