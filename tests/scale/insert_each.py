"""`python -m tests.scale.insert_each` is `journey-gateway` without group commit: each request has an insert of its own,
as many at a time as there are requests."""

from __future__ import annotations

from gateway.cli import main
from gateway.pipeline import committing

committing.MAX_GROUP = 1
committing._PARALLEL = 1_000

main()
