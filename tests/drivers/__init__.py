"""Every supported driver against the same faults: what each must become, and what it must say."""
