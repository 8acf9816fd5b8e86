#!/usr/bin/env python3
"""Interop of processes in journal mode truncate; what is done and checked is in interop.py."""
import sys

sys.dont_write_bytecode = True

import interop

sys.exit(interop.main("truncate"))
