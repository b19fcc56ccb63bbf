#!/usr/bin/env python3
"""Mirror of cli/: a file of tests for each group of commands."""
