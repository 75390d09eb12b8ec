"""`python -m dynsync_pipeline_tests.mutants`: the mutation check (`check.py`)."""

import sys

from dynsync_pipeline_tests.mutants.check import main

if __name__ == "__main__":
    sys.exit(main())
