"""`dynsync dev`: Dagster's UI and its daemon, against the emulators where no real system is configured."""
