"""``python -m tests.crash``, see :mod:`tests.crash.harness`."""

import tests.crash.faults  # noqa: F401 (cases of its own)
from tests.crash.harness import main

raise SystemExit(main())
