"""labkit is no test: it is installed by one."""

collect_ignore_glob = ["labkit/*"]
