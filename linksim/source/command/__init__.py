"""Any codec through programs that the user allows: nothing of a scenario file alone is started."""
