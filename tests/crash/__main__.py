"""``python -m tests.crash``, see :mod:`tests.crash.harness`."""

from tests.crash.harness import main

raise SystemExit(main())
