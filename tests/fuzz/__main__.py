"""``python -m tests.fuzz``, see :mod:`tests.fuzz.harness`."""

from tests.fuzz.harness import main

raise SystemExit(main())
