"""What people and commands see of the sync, by selects alone: status, errors, one person, the plan. Writes nothing."""
